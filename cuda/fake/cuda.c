// A libcuda without a GPU. Memory is the host's, streams do their work at once, kernels do nothing; a kernel named
// k_1_8_128 has parameters of 1, 8 and 128 bytes, and its launch is recorded with their values.
//
// Built with OLD it is a driver of CUDA 11.0: no cuGetProcAddress, no cuLaunchKernelEx. Built with HIDDEN it exports
// cuGetProcAddress_v2 alone.
#include "record.h"

#ifdef HIDDEN
#define API static
#else
#define API SHOWN
#endif

typedef int R;
typedef unsigned U;
typedef uint64_t P;

static __thread uintptr_t current;
static uintptr_t handles = 0x1000;
enum { CONTEXT = 0xc0 };

#define NEEDS_CONTEXT if (current != CONTEXT) return 201;

API R cuInit(U flags) {
	const char *path = getenv("CUDA_CACHE_PATH"), *size = getenv("CUDA_CACHE_MAXSIZE");
	CALL("cuInit", "flags=%u path=%s size=%s", flags, path ? path : "", size ? size : "")
	return setting("no_device", 0) ? 100 : 0;
}
API R cuDriverGetVersion(int *v) {
	CALL("cuDriverGetVersion", "")
#ifdef OLD
	*v = setting("version", 11000);
#else
	*v = setting("version", 12080);
#endif
	return 0;
}

static const struct { int code; const char *name, *text; } codes[] = {
	{1, "CUDA_ERROR_INVALID_VALUE", "invalid argument"}, {2, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
	{46, "CUDA_ERROR_DEVICE_UNAVAILABLE", "CUDA-capable device(s) is/are busy or unavailable"},
	{100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"}, {101, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
	{200, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"}, {201, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
	{209, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"},
	{214, "CUDA_ERROR_ECC_UNCORRECTABLE", "uncorrectable ECC error encountered"}, {218, "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
	{221, "CUDA_ERROR_JIT_COMPILER_NOT_FOUND", "PTX JIT compiler library not found"},
	{222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "the provided PTX was compiled with an unsupported toolchain."},
	{500, "CUDA_ERROR_NOT_FOUND", "named symbol not found"}, {600, "CUDA_ERROR_NOT_READY", "device not ready"},
	{700, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
	{702, "CUDA_ERROR_LAUNCH_TIMEOUT", "the launch timed out and was terminated"},
	{719, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"}, {803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "system has unsupported display driver / cuda driver combination"},
};
API R cuGetErrorName(R code, const char **s) {
	for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
		if (codes[i].code == code) return *s = codes[i].name, 0;
	return *s = NULL, 1;
}
API R cuGetErrorString(R code, const char **s) {
	for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
		if (codes[i].code == code) return *s = codes[i].text, 0;
	return *s = NULL, 1;
}

API R cuDeviceGetCount(int *n) {
	CALL("cuDeviceGetCount", "")
	*n = setting("devices", 2);
	return 0;
}
API R cuDeviceGet(int *d, int ordinal) {
	CALL("cuDeviceGet", "ordinal=%d", ordinal)
	*d = ordinal + 40;
	return 0;
}
API R cuDeviceGetName(char *name, int n, int d) {
	CALL("cuDeviceGetName", "n=%d device=%d", n, d)
	snprintf(name, n, "Fake GPU %d", d);
	return 0;
}
API R cuDeviceGetAttribute(int *v, int a, int d) {
	CALL("cuDeviceGetAttribute", "attribute=%d device=%d", a, d)
	int major = setting("major", 9);
	*v = a == 75 ? major : a == 76 ? 0 : a == 18 ? 0 : 1000 + a;
	return 0;
}
API R cuDeviceTotalMem_v2(size_t *n, int d) {
	CALL("cuDeviceTotalMem_v2", "device=%d", d)
	*n = 24ull << 30;
	return 0;
}
API R cuDeviceTotalMem(U *n, int d) { CALL("cuDeviceTotalMem", "of CUDA 2") return 1; }
API R cuDeviceGetUuid(char *u, int d) {
	CALL("cuDeviceGetUuid", "device=%d", d)
	for (int i = 0; i < 16; i++) u[i] = i + 1;
	return 0;
}
#ifndef OLD
API R cuDeviceGetUuid_v2(char *u, int d) {
	CALL("cuDeviceGetUuid_v2", "device=%d", d)
	for (int i = 0; i < 16; i++) u[i] = i + 0x10;
	return 0;
}
#endif
API R cuDevicePrimaryCtxRetain(uintptr_t *c, int d) {
	CALL("cuDevicePrimaryCtxRetain", "device=%d", d)
	*c = CONTEXT;
	return 0;
}
API R cuDevicePrimaryCtxRelease_v2(int d) { CALL("cuDevicePrimaryCtxRelease_v2", "device=%d", d) return 0; }
API R cuDevicePrimaryCtxRelease(int d) { CALL("cuDevicePrimaryCtxRelease", "of CUDA 7") return 1; }
API R cuCtxSetCurrent(uintptr_t c) {
	CALL("cuCtxSetCurrent", "context=%#lx", c)
	current = c;
	return 0;
}
API R cuCtxGetCurrent(uintptr_t *c) {
	CALL("cuCtxGetCurrent", "")
	*c = current;
	return 0;
}
API R cuCtxSynchronize(void) { CALL("cuCtxSynchronize", "") NEEDS_CONTEXT return 0; }

API R cuMemGetInfo_v2(size_t *free, size_t *total) {
	CALL("cuMemGetInfo_v2", "")
	NEEDS_CONTEXT
	*free = 5ull << 30, *total = 24ull << 30;
	return 0;
}
API R cuMemGetInfo(U *free, U *total) { CALL("cuMemGetInfo", "of CUDA 2") return 1; }
API R cuMemAlloc_v2(P *p, size_t n) {
	CALL("cuMemAlloc_v2", "bytes=%zu", n)
	NEEDS_CONTEXT
	if (n >= (size_t)setting("oom", 1ll << 32)) return 2;
	void *m = NULL;
	if (posix_memalign(&m, 256, n)) return 2;
	*p = (P)m;
	return 0;
}
API R cuMemAlloc(U *p, U n) { CALL("cuMemAlloc", "of CUDA 2") return 1; }
API R cuMemFree_v2(P p) {
	CALL("cuMemFree_v2", "p=%#lx", p)
	NEEDS_CONTEXT
	free((void *)p);
	return 0;
}
API R cuMemFree(U p) { CALL("cuMemFree", "of CUDA 2") return 1; }
API R cuMemHostAlloc(void **p, size_t n, U flags) {
	CALL("cuMemHostAlloc", "bytes=%zu flags=%u", n, flags)
	NEEDS_CONTEXT
	return posix_memalign(p, 4096, n) ? 2 : 0;
}
API R cuMemFreeHost(void *p) {
	CALL("cuMemFreeHost", "p=%p", p)
	NEEDS_CONTEXT
	free(p);
	return 0;
}
API R cuMemcpyHtoD_v2(P d, const void *s, size_t n) {
	CALL("cuMemcpyHtoD_v2", "dst=%#lx bytes=%zu", d, n)
	NEEDS_CONTEXT
	memcpy((void *)d, s, n);
	return 0;
}
API R cuMemcpyDtoH_v2(void *d, P s, size_t n) {
	CALL("cuMemcpyDtoH_v2", "src=%#lx bytes=%zu", s, n)
	NEEDS_CONTEXT
	memcpy(d, (void *)s, n);
	return 0;
}
API R cuMemcpyDtoD_v2(P d, P s, size_t n) {
	CALL("cuMemcpyDtoD_v2", "dst=%#lx src=%#lx bytes=%zu", d, s, n)
	NEEDS_CONTEXT
	memcpy((void *)d, (void *)s, n);
	return 0;
}
API R cuMemcpyHtoDAsync_v2(P d, const void *s, size_t n, void *st) {
	if (silent) return 0;
	CALL("cuMemcpyHtoDAsync_v2", "dst=%#lx src=%p bytes=%zu stream=%p", d, s, n, st)
	NEEDS_CONTEXT
	memcpy((void *)d, s, n);
	return 0;
}
API R cuMemcpyDtoHAsync_v2(void *d, P s, size_t n, void *st) {
	CALL("cuMemcpyDtoHAsync_v2", "dst=%p src=%#lx bytes=%zu stream=%p", d, s, n, st)
	NEEDS_CONTEXT
	memcpy(d, (void *)s, n);
	return 0;
}
API R cuMemcpyDtoDAsync_v2(P d, P s, size_t n, void *st) {
	CALL("cuMemcpyDtoDAsync_v2", "dst=%#lx src=%#lx bytes=%zu stream=%p", d, s, n, st)
	NEEDS_CONTEXT
	memcpy((void *)d, (void *)s, n);
	return 0;
}
API R cuMemsetD8Async(P d, unsigned char v, size_t n, void *st) {
	CALL("cuMemsetD8Async", "dst=%#lx value=%#x count=%zu stream=%p", d, v, n, st)
	NEEDS_CONTEXT
	memset((void *)d, v, n);
	return 0;
}
API R cuMemsetD32Async(P d, U v, size_t n, void *st) {
	CALL("cuMemsetD32Async", "dst=%#lx value=%#x count=%zu stream=%p", d, v, n, st)
	NEEDS_CONTEXT
	for (size_t i = 0; i < n; i++) ((U *)d)[i] = v;
	return 0;
}

typedef struct { char name[200]; int count, sizes[32]; } Kernel;

// options records the compiler's options and writes to the two logs.
static void options(U n, const int *o, void **v, const char *info, const char *error) {
	for (U i = 0; i < n; i++) {
		if (o[i] == 3 || o[i] == 5) {
			uintptr_t size = i + 1 < n && o[i + 1] == o[i] + 1 ? (uintptr_t)v[i + 1] : 0;
			add("%d=%s(%lu) ", o[i], v[i] ? "buffer" : "null", size);
			snprintf(v[i], size, "%s", o[i] == 3 ? info : error);
		} else if (o[i] != 4 && o[i] != 6) add("%d=%lu ", o[i], (uintptr_t)v[i]);
	}
}
static R compile(const char *ptx, const char **error) {
	*error = "";
	if (strstr(ptx, "wrong line")) return *error = "ptxas fatal : line 3: syntax error near 'wrong'", 218;
	if (strstr(ptx, ".version 99.")) return *error = "Unsupported .version", 222;
	return 0;
}
API R cuModuleLoadDataEx(uintptr_t *m, const char *image, U n, int *o, void **v) {
	int ptx = image[0] != 0x7f;
	const char *error = "";
	R r = ptx ? compile(image, &error) : strstr(image, "foreign") ? 209 : 0;
	CALL("cuModuleLoadDataEx", "%s n=%u ", ptx ? "ptx" : "cubin", n)
	NEEDS_CONTEXT
	pthread_mutex_lock(&lock);
	options(n, o, v, "ptxas info : Used 32 registers\n", error);
	if (n) add("\n");
	*m = handles++;
	pthread_mutex_unlock(&lock);
	return r;
}
API R cuModuleUnload(uintptr_t m) { CALL("cuModuleUnload", "module=%#lx", m) NEEDS_CONTEXT return 0; }
API R cuModuleGetFunction(Kernel **f, uintptr_t m, const char *name) {
	CALL("cuModuleGetFunction", "module=%#lx name=%s", m, name)
	NEEDS_CONTEXT
	if (!strcmp(name, "missing")) return 500;
	Kernel *k = calloc(1, sizeof *k); // as long as the process
	snprintf(k->name, sizeof k->name, "%s", name);
	for (const char *p = strchr(name, '_'); p && k->count < 32; p = strchr(p + 1, '_')) k->sizes[k->count++] = atoi(p + 1);
	*f = k;
	return 0;
}
API R cuModuleGetGlobal_v2(P *p, size_t *n, uintptr_t m, const char *name) {
	CALL("cuModuleGetGlobal_v2", "module=%#lx name=%s", m, name)
	NEEDS_CONTEXT
	*p = 0xabc00, *n = 1234;
	return 0;
}
API R cuModuleGetGlobal(U *p, U *n, uintptr_t m, const char *name) { CALL("cuModuleGetGlobal", "of CUDA 2") return 1; }
API R cuFuncGetAttribute(int *v, int a, Kernel *f) {
	CALL("cuFuncGetAttribute", "attribute=%d kernel=%s", a, f->name)
	NEEDS_CONTEXT
	*v = 100 + a;
	return 0;
}
API R cuFuncSetAttribute(Kernel *f, int a, int v) {
	CALL("cuFuncSetAttribute", "kernel=%s attribute=%d value=%d", f->name, a, v)
	NEEDS_CONTEXT
	return v > 232448 ? 1 : 0;
}
API R cuOccupancyMaxActiveBlocksPerMultiprocessor(int *n, Kernel *f, int threads, size_t shared) {
	CALL("cuOccupancyMaxActiveBlocksPerMultiprocessor", "kernel=%s threads=%d shared=%zu", f->name, threads, shared)
	NEEDS_CONTEXT
	*n = 3;
	return 0;
}

static void arguments(Kernel *f, void **args, void **extra) {
	if (extra) add(" EXTRA");
	if (!args) add(" none");
	for (int i = 0; i < f->count; i++) {
		int align = f->sizes[i] > 64 ? 64 : f->sizes[i];
		add(" ");
		if ((uintptr_t)args[i] % align) add("MISALIGNED");
		for (int b = 0; b < f->sizes[i]; b++) add("%02x", ((unsigned char *)args[i])[b]);
	}
}
API R cuLaunchKernel(Kernel *f, U gx, U gy, U gz, U bx, U by, U bz, U sh, void *st, void **args, void **extra) {
	if (silent) return 0;
	CALL("cuLaunchKernel", "kernel=%s grid=%u,%u,%u block=%u,%u,%u shared=%u stream=%p args:", f->name, gx, gy, gz, bx, by, bz, sh, st);
	NEEDS_CONTEXT
	pthread_mutex_lock(&lock);
	recorded--;
	arguments(f, args, extra);
	add("\n");
	pthread_mutex_unlock(&lock);
	return 0;
}
#ifndef OLD
typedef struct { int id; char pad[4]; U value[16]; } Attribute;
typedef struct { U gx, gy, gz, bx, by, bz, sh; void *st; Attribute *attrs; U count; } Config;
_Static_assert(sizeof(Attribute) == 72 && sizeof(Config) == 56, "as in cuda.h");
API R cuLaunchKernelEx(const Config *c, Kernel *f, void **args, void **extra) {
	if (silent) return 0;
	CALL("cuLaunchKernelEx", "kernel=%s grid=%u,%u,%u block=%u,%u,%u shared=%u stream=%p", f->name, c->gx, c->gy, c->gz, c->bx, c->by, c->bz, c->sh, c->st);
	NEEDS_CONTEXT
	pthread_mutex_lock(&lock);
	recorded--;
	for (U i = 0; i < c->count; i++) {
		U *v = c->attrs[i].value;
		if (c->attrs[i].id == 4) add(" cluster=%u,%u,%u", v[0], v[1], v[2]);
		else add(" attribute%d=%u", c->attrs[i].id, v[0]);
	}
	add(" args:");
	arguments(f, args, extra);
	add("\n");
	pthread_mutex_unlock(&lock);
	return 0;
}
API R cuTensorMapEncodeTiled(char *m, U kind, U rank, void *addr, const uint64_t *dims, const uint64_t *strides, const U *box, const U *steps, U interleave, U swizzle, U promotion, U fill) {
	CALL("cuTensorMapEncodeTiled", "aligned=%d kind=%u rank=%u addr=%p dims=%lu,%lu,%lu strides=%lu,%lu box=%u,%u,%u steps=%u,%u,%u interleave=%u swizzle=%u promotion=%u fill=%u",
		(uintptr_t)m % 64 == 0, kind, rank, addr, dims[0], dims[1], dims[2], strides[0], strides[1], box[0], box[1], box[2], steps[0], steps[1], steps[2], interleave, swizzle, promotion, fill)
	for (int i = 0; i < 128; i++) m[i] = i;
	return 0;
}
API R cuGraphInstantiateWithFlags(uintptr_t *x, uintptr_t g, uint64_t flags) {
	CALL("cuGraphInstantiateWithFlags", "graph=%#lx flags=%lu", g, flags)
	NEEDS_CONTEXT
	*x = handles++;
	return 0;
}
#endif

typedef struct { char *cubin; size_t size; } Link;
API R cuLinkCreate_v2(U n, int *o, void **v, Link **l) {
	CALL("cuLinkCreate_v2", "n=%u ", n)
	NEEDS_CONTEXT
	pthread_mutex_lock(&lock);
	options(n, o, v, "ptxas info : Used 32 registers\n", "");
	add("\n");
	pthread_mutex_unlock(&lock);
	*l = calloc(1, sizeof(Link));
	return 0;
}
API R cuLinkCreate(U n, int *o, void **v, Link **l) { CALL("cuLinkCreate", "of CUDA 5") return 1; }
API R cuLinkAddData_v2(Link *l, int kind, const char *data, size_t size, const char *name, U n, int *o, void **v) {
	CALL("cuLinkAddData_v2", "kind=%d size=%zu terminated=%d name=%s n=%u o=%p v=%p", kind, size, data[size - 1] == 0, name, n, (void *)o, (void *)v)
	NEEDS_CONTEXT
	const char *error;
	R r = compile(data, &error);
	if (r) return r;
	l->cubin = malloc(size + 4);
	memcpy(l->cubin, "\177ELF", 4);
	memcpy(l->cubin + 4, data, size);
	l->size = size + 4;
	return 0;
}
API R cuLinkAddData(Link *l, int kind, const char *data, size_t size, const char *name, U n, int *o, void **v) { CALL("cuLinkAddData", "of CUDA 5") return 1; }
API R cuLinkComplete(Link *l, void **cubin, size_t *size) {
	CALL("cuLinkComplete", "")
	NEEDS_CONTEXT
	*cubin = l->cubin, *size = l->size;
	return 0;
}
API R cuLinkDestroy(Link *l) {
	CALL("cuLinkDestroy", "")
	if (l->cubin) memset(l->cubin, 0xdd, l->size); // who reads it after this reads nonsense
	free(l->cubin), free(l);
	return 0;
}

#define MAKER(name, T) API R name(uintptr_t *h, U flags) { CALL(#name, "flags=%u", flags) NEEDS_CONTEXT *h = handles++; return 0; }
#define TAKER(name) API R name(uintptr_t h) { CALL(#name, "handle=%#lx", h) NEEDS_CONTEXT return 0; }
MAKER(cuStreamCreate, )
MAKER(cuEventCreate, )
TAKER(cuStreamDestroy_v2)
TAKER(cuStreamSynchronize)
TAKER(cuEventDestroy_v2)
TAKER(cuEventSynchronize)
TAKER(cuGraphDestroy)
TAKER(cuGraphExecDestroy)
API R cuStreamDestroy(uintptr_t h) { CALL("cuStreamDestroy", "of CUDA 2") return 1; }
API R cuEventDestroy(uintptr_t h) { CALL("cuEventDestroy", "of CUDA 2") return 1; }
static R busy(void) {
	int64_t n = setting("busy", 0);
	if (n > 0) fake_set("busy", n - 1);
	return n > 0 ? 600 : 0;
}
API R cuStreamQuery(uintptr_t s) { CALL("cuStreamQuery", "handle=%#lx", s) NEEDS_CONTEXT return busy(); }
API R cuEventQuery(uintptr_t e) { CALL("cuEventQuery", "handle=%#lx", e) NEEDS_CONTEXT return busy(); }
API R cuStreamWaitEvent(uintptr_t s, uintptr_t e, U flags) { CALL("cuStreamWaitEvent", "stream=%#lx event=%#lx flags=%u", s, e, flags) NEEDS_CONTEXT return 0; }
API R cuEventRecord(uintptr_t e, uintptr_t s) {
	if (silent) return 0;
	CALL("cuEventRecord", "event=%#lx stream=%#lx", e, s)
	NEEDS_CONTEXT
	return 0;
}
API R cuEventElapsedTime(float *ms, uintptr_t from, uintptr_t to) {
	CALL("cuEventElapsedTime", "from=%#lx to=%#lx", from, to)
	NEEDS_CONTEXT
	*ms = 1.5f;
	return 0;
}
API R cuStreamBeginCapture_v2(uintptr_t s, int mode) { CALL("cuStreamBeginCapture_v2", "stream=%#lx mode=%d", s, mode) NEEDS_CONTEXT return 0; }
API R cuStreamBeginCapture(uintptr_t s) { CALL("cuStreamBeginCapture", "of CUDA 10.0") return 1; }
API R cuStreamEndCapture(uintptr_t s, uintptr_t *g) {
	CALL("cuStreamEndCapture", "stream=%#lx", s)
	NEEDS_CONTEXT
	*g = handles++;
	return 0;
}
API R cuGraphLaunch(uintptr_t x, uintptr_t s) {
	if (silent) return 0;
	CALL("cuGraphLaunch", "exec=%#lx stream=%#lx", x, s)
	NEEDS_CONTEXT
	return 0;
}

#ifndef OLD
// Every function by its name and the release that brought its arguments.
static const struct { const char *name; int version; void *fn; } symbols[] = {
#define S(name, version, fn) {#name, version, (void *)fn},
	S(cuInit, 2000, cuInit) S(cuDriverGetVersion, 2020, cuDriverGetVersion) S(cuGetErrorName, 6000, cuGetErrorName)
	S(cuGetErrorString, 6000, cuGetErrorString) S(cuDeviceGetCount, 2000, cuDeviceGetCount) S(cuDeviceGet, 2000, cuDeviceGet)
	S(cuDeviceGetName, 2000, cuDeviceGetName) S(cuDeviceGetAttribute, 2000, cuDeviceGetAttribute)
	S(cuDeviceTotalMem, 2000, cuDeviceTotalMem) S(cuDeviceTotalMem, 3020, cuDeviceTotalMem_v2)
	S(cuDeviceGetUuid, 9020, cuDeviceGetUuid) S(cuDeviceGetUuid, 11040, cuDeviceGetUuid_v2)
	S(cuDevicePrimaryCtxRetain, 7000, cuDevicePrimaryCtxRetain) S(cuDevicePrimaryCtxRelease, 7000, cuDevicePrimaryCtxRelease)
	S(cuDevicePrimaryCtxRelease, 11000, cuDevicePrimaryCtxRelease_v2) S(cuCtxSetCurrent, 4000, cuCtxSetCurrent)
	S(cuCtxGetCurrent, 4000, cuCtxGetCurrent) S(cuCtxSynchronize, 2000, cuCtxSynchronize)
	S(cuMemGetInfo, 2000, cuMemGetInfo) S(cuMemGetInfo, 3020, cuMemGetInfo_v2) S(cuMemAlloc, 2000, cuMemAlloc)
	S(cuMemAlloc, 3020, cuMemAlloc_v2) S(cuMemFree, 2000, cuMemFree) S(cuMemFree, 3020, cuMemFree_v2)
	S(cuMemHostAlloc, 2020, cuMemHostAlloc) S(cuMemFreeHost, 2000, cuMemFreeHost) S(cuMemcpyHtoD, 3020, cuMemcpyHtoD_v2)
	S(cuMemcpyDtoH, 3020, cuMemcpyDtoH_v2) S(cuMemcpyDtoD, 3020, cuMemcpyDtoD_v2)
	S(cuMemcpyHtoDAsync, 3020, cuMemcpyHtoDAsync_v2) S(cuMemcpyDtoHAsync, 3020, cuMemcpyDtoHAsync_v2)
	S(cuMemcpyDtoDAsync, 3020, cuMemcpyDtoDAsync_v2) S(cuMemsetD8Async, 3020, cuMemsetD8Async)
	S(cuMemsetD32Async, 3020, cuMemsetD32Async) S(cuModuleLoadDataEx, 2010, cuModuleLoadDataEx)
	S(cuModuleUnload, 2000, cuModuleUnload) S(cuModuleGetFunction, 2000, cuModuleGetFunction)
	S(cuModuleGetGlobal, 2000, cuModuleGetGlobal) S(cuModuleGetGlobal, 3020, cuModuleGetGlobal_v2)
	S(cuFuncGetAttribute, 2020, cuFuncGetAttribute) S(cuFuncSetAttribute, 9000, cuFuncSetAttribute)
	S(cuOccupancyMaxActiveBlocksPerMultiprocessor, 6050, cuOccupancyMaxActiveBlocksPerMultiprocessor)
	S(cuLaunchKernel, 4000, cuLaunchKernel) S(cuLaunchKernelEx, 11060, cuLaunchKernelEx)
	S(cuTensorMapEncodeTiled, 12000, cuTensorMapEncodeTiled) S(cuGraphInstantiateWithFlags, 11040, cuGraphInstantiateWithFlags)
	S(cuLinkCreate, 5050, cuLinkCreate) S(cuLinkCreate, 6050, cuLinkCreate_v2) S(cuLinkAddData, 5050, cuLinkAddData)
	S(cuLinkAddData, 6050, cuLinkAddData_v2) S(cuLinkComplete, 5050, cuLinkComplete) S(cuLinkDestroy, 5050, cuLinkDestroy)
	S(cuStreamCreate, 2000, cuStreamCreate) S(cuStreamDestroy, 2000, cuStreamDestroy) S(cuStreamDestroy, 4000, cuStreamDestroy_v2)
	S(cuStreamSynchronize, 2000, cuStreamSynchronize) S(cuStreamQuery, 2000, cuStreamQuery)
	S(cuStreamWaitEvent, 3020, cuStreamWaitEvent) S(cuStreamBeginCapture, 10000, cuStreamBeginCapture)
	S(cuStreamBeginCapture, 10010, cuStreamBeginCapture_v2) S(cuStreamEndCapture, 10000, cuStreamEndCapture)
	S(cuGraphLaunch, 10000, cuGraphLaunch) S(cuGraphDestroy, 10000, cuGraphDestroy) S(cuGraphExecDestroy, 10000, cuGraphExecDestroy)
	S(cuEventCreate, 2000, cuEventCreate) S(cuEventDestroy, 2000, cuEventDestroy) S(cuEventDestroy, 4000, cuEventDestroy_v2)
	S(cuEventRecord, 2000, cuEventRecord) S(cuEventQuery, 2000, cuEventQuery) S(cuEventSynchronize, 2000, cuEventSynchronize)
	S(cuEventElapsedTime, 2000, cuEventElapsedTime)
};
SHOWN R cuGetProcAddress_v2(const char *name, void **fn, int version, uint64_t flags, int *status) {
	pthread_mutex_lock(&lock);
	add("cuGetProcAddress_v2 name=%s version=%d flags=%lu\n", name, version, flags);
	pthread_mutex_unlock(&lock);
	int best = 0;
	*fn = NULL, *status = 1;
	for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
		if (strcmp(symbols[i].name, name)) continue;
		if (*status == 1) *status = 2;
		if (symbols[i].version <= version && symbols[i].version > best) *fn = symbols[i].fn, best = symbols[i].version, *status = 0;
	}
	return *fn ? 0 : 500;
}
#endif
