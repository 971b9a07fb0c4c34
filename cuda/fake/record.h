// What the fake libraries share: a text with one line a call, and scripts that make calls fail. The exported functions
// fake_... are for the test that drives a library.
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SHOWN __attribute__((visibility("default")))

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char record[1 << 20];
static size_t recorded;
static int silent;
static struct { char call[64]; int nth, code; } scripts[16];
static int scripted, sticky;
static struct { char name[32]; int64_t value; } settings[32];
static long threads[64];
static int threadCount;

static void add(const char *format, ...) {
	va_list list;
	va_start(list, format);
	if (!silent && recorded < sizeof record - 4096) recorded += vsnprintf(record + recorded, 4096, format, list);
	va_end(list);
}

// play decides what a call returns: 0, or what a script says.
static int play(const char *call) {
	long thread = syscall(SYS_gettid);
	int known = 0;
	for (int i = 0; i < threadCount; i++) known |= threads[i] == thread;
	if (!known && threadCount < 64) threads[threadCount++] = thread;
	if (sticky) return sticky;
	for (int i = 0; i < scripted; i++) {
		if (strcmp(scripts[i].call, call) || --scripts[i].nth) continue;
		int c = scripts[i].code;
		if (c >= 700 && c < 720 && c != 701 && c != 703) sticky = c;
		return c;
	}
	return 0;
}

static int64_t setting(const char *name, int64_t otherwise) {
	for (int i = 0; i < 32; i++)
		if (!strcmp(settings[i].name, name)) return settings[i].value;
	return otherwise;
}

SHOWN void fake_set(const char *name, int64_t value) {
	for (int i = 0; i < 32; i++) {
		if (settings[i].name[0] && strcmp(settings[i].name, name)) continue;
		snprintf(settings[i].name, sizeof settings[i].name, "%s", name);
		settings[i].value = value;
		break;
	}
	if (!strcmp(name, "silent")) silent = value;
}

SHOWN void fake_reset(void) {
	pthread_mutex_lock(&lock);
	recorded = 0, record[0] = 0, scripted = 0, sticky = 0, silent = 0, threadCount = 0;
	memset(settings, 0, sizeof settings);
	pthread_mutex_unlock(&lock);
}

// The nth call from now on, counted from 1, returns code.
SHOWN void fake_fail(const char *call, int32_t nth, int32_t code) {
	if (scripted == 16) abort();
	snprintf(scripts[scripted].call, 64, "%s", call);
	scripts[scripted].nth = nth;
	scripts[scripted++].code = code;
}

SHOWN const char *fake_calls(void) { return record; }
SHOWN void fake_clear(void) { recorded = 0, record[0] = 0; }
SHOWN int32_t fake_threads(void) { return threadCount; }

// CALL records a call and returns if a script says so.
#define CALL(name, ...) \
	pthread_mutex_lock(&lock); \
	add(name " " __VA_ARGS__); \
	add("\n"); \
	int played = play(name); \
	pthread_mutex_unlock(&lock); \
	if (played) return played;
