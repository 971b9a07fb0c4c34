// A libcublasLt that records. VERSION is what it says it is.
#include "record.h"

typedef int R;
static uintptr_t handles = 0x2000;

SHOWN size_t cublasLtGetVersion(void) { return VERSION; }
SHOWN const char *cublasLtGetStatusName(R r) { return r == 15 ? "CUBLAS_STATUS_NOT_SUPPORTED" : r == 3 ? "CUBLAS_STATUS_ALLOC_FAILED" : "CUBLAS_STATUS_OTHER"; }
SHOWN R cublasLtCreate(uintptr_t *h) { CALL("cublasLtCreate", "") *h = 0x1b; return 0; }
SHOWN R cublasLtDestroy(uintptr_t h) { CALL("cublasLtDestroy", "handle=%#lx", h) return 0; }
SHOWN R cublasLtMatmulDescCreate(uintptr_t *d, int compute, int scale) {
	CALL("cublasLtMatmulDescCreate", "compute=%d scale=%d", compute, scale)
	*d = 0xd0;
	return 0;
}
SHOWN R cublasLtMatmulDescDestroy(uintptr_t d) { CALL("cublasLtMatmulDescDestroy", "desc=%#lx", d) return 0; }
static uint64_t value(const void *v, size_t n) {
	uint64_t x = 0;
	memcpy(&x, v, n > 8 ? 8 : n);
	return x;
}
SHOWN R cublasLtMatmulDescSetAttribute(uintptr_t d, int a, const void *v, size_t n) {
	CALL("cublasLtMatmulDescSetAttribute", "desc=%#lx attribute=%d value=%#lx size=%zu", d, a, value(v, n), n)
	return 0;
}
SHOWN R cublasLtMatrixLayoutCreate(uintptr_t *l, int kind, uint64_t rows, uint64_t cols, int64_t ld) {
	CALL("cublasLtMatrixLayoutCreate", "kind=%d rows=%lu cols=%lu ld=%ld", kind, rows, cols, ld)
	*l = setting("layout", 0xe0);
	fake_set("layout", *l + 1);
	return 0;
}
SHOWN R cublasLtMatrixLayoutDestroy(uintptr_t l) { CALL("cublasLtMatrixLayoutDestroy", "layout=%#lx", l) return 0; }
SHOWN R cublasLtMatmulPreferenceCreate(uintptr_t *p) { CALL("cublasLtMatmulPreferenceCreate", "") *p = 0xf0; return 0; }
SHOWN R cublasLtMatmulPreferenceDestroy(uintptr_t p) { CALL("cublasLtMatmulPreferenceDestroy", "pref=%#lx", p) return 0; }
SHOWN R cublasLtMatmulPreferenceSetAttribute(uintptr_t p, int a, const void *v, size_t n) {
	CALL("cublasLtMatmulPreferenceSetAttribute", "pref=%#lx attribute=%d value=%lu size=%zu", p, a, value(v, n), n)
	return 0;
}
typedef struct { uint64_t algo[8]; size_t workspace; int state; float waves; int reserved[4]; } Heuristic;
_Static_assert(sizeof(Heuristic) == 96, "as in cublasLt.h");
SHOWN R cublasLtMatmulAlgoGetHeuristic(uintptr_t h, uintptr_t d, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t o, uintptr_t p, int want, Heuristic *r, int *found) {
	CALL("cublasLtMatmulAlgoGetHeuristic", "handle=%#lx desc=%#lx layouts=%#lx,%#lx,%#lx,%#lx pref=%#lx want=%d", h, d, a, b, c, o, p, want)
	*found = setting("found", 1);
	for (int i = 0; i < 8; i++) r->algo[i] = 100 + i;
	r->state = 0;
	return 0;
}
SHOWN R cublasLtMatmul(uintptr_t h, uintptr_t d, const float *alpha, uintptr_t a, uintptr_t al, uintptr_t b, uintptr_t bl, const float *beta, uintptr_t c, uintptr_t cl, uintptr_t o, uintptr_t ol, const uint64_t *algo, uintptr_t ws, size_t wn, uintptr_t st) {
	if (silent) return 0;
	CALL("cublasLtMatmul", "handle=%#lx desc=%#lx alpha=%g A=%#lx:%#lx B=%#lx:%#lx beta=%g C=%#lx:%#lx D=%#lx:%#lx algo=%lu..%lu workspace=%d,%zu stream=%#lx",
		h, d, *alpha, a, al, b, bl, *beta, c, cl, o, ol, algo[0], algo[7], ws != 0, wn, st)
	return 0;
}
