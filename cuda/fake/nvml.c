// A libnvidia-ml with one GPU, or with the setting mig a slice of one, which does not tell everything.
#include "record.h"

enum { DEVICE = 0x77 };

SHOWN int nvmlInit_v2(void) { CALL("nvmlInit_v2", "") return 0; }
SHOWN int nvmlShutdown(void) { CALL("nvmlShutdown", "") return 0; }
SHOWN const char *nvmlErrorString(int code) { return code == 15 ? "GPU is lost" : code == 6 ? "Not Found" : "Unknown Error"; }
SHOWN int nvmlSystemGetDriverVersion(char *s, unsigned n) {
	CALL("nvmlSystemGetDriverVersion", "n=%u", n)
	snprintf(s, n, "570.86.10");
	return 0;
}
SHOWN int nvmlDeviceGetHandleByUUID(const char *uuid, uintptr_t *d) {
	CALL("nvmlDeviceGetHandleByUUID", "uuid=%s", uuid)
	const char *mine = setting("mig", 0) ? "MIG-10111213-1415-1617-1819-1a1b1c1d1e1f" : "GPU-10111213-1415-1617-1819-1a1b1c1d1e1f";
	if (strcmp(uuid, mine)) return 6;
	*d = DEVICE;
	return 0;
}
SHOWN int nvmlDeviceGetUtilizationRates(uintptr_t d, unsigned u[2]) {
	CALL("nvmlDeviceGetUtilizationRates", "device=%#lx", d)
	if (setting("mig", 0)) return 3;
	u[0] = 37, u[1] = 11;
	return 0;
}
SHOWN int nvmlDeviceGetMemoryInfo(uintptr_t d, uint64_t m[3]) {
	CALL("nvmlDeviceGetMemoryInfo", "device=%#lx", d)
	m[0] = 23034ull << 20, m[1] = 21504ull << 20, m[2] = 1530ull << 20;
	return 0;
}
SHOWN int nvmlDeviceGetTemperature(uintptr_t d, int sensor, unsigned *t) {
	CALL("nvmlDeviceGetTemperature", "device=%#lx sensor=%d", d, sensor)
	*t = 51;
	return 0;
}
SHOWN int nvmlDeviceGetPowerUsage(uintptr_t d, unsigned *p) {
	CALL("nvmlDeviceGetPowerUsage", "device=%#lx", d)
	if (setting("mig", 0)) return 3;
	*p = 71500;
	return 0;
}
