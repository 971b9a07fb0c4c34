package kernels

import (
	"strings"
	"testing"
)

func TestChooseGemm(t *testing.T) {
	for _, c := range []struct {
		name    string
		target  Target
		t       string
		m, n, k int
		decode  bool
		want    string
	}{
		{"a batch on Turing", SM75, "f16", 8192, 1024, 1024, false, "gemm_f16_128x128"},
		{"few rows", SM80, "bf16", 16, 768, 768, false, "gemm_bf16_64x64"},
		{"tiles for a third of the multiprocessors", SM80, "f16", 512, 1024, 768, false, "gemm_f16_64x64"},
		{"a batch", SM80, "bf16", 8192, 3072, 768, false, "gemm_bf16_128x128"},
		{"float32", SM80, "f32", 4096, 4096, 64, false, "gemm_f32_128x128"},
		{"float32 on Hopper", SM90A, "f32", 8, 384, 384, false, "gemm_f32_64x64"},
		{"a batch on Hopper", SM90A, "bf16", 8192, 4096, 1024, false, "wgmma_bf16_128x256"},
		{"few rows on Hopper", SM90A, "f16", 3, 384, 384, false, "wgmma_f16_128x128"},
		{"one token", SM90A, "bf16", 1, 4096, 4096, true, "gemv_bf16_8"},
		{"nine tokens", SM80, "f16", 9, 4096, 4096, true, "gemv_f16_32"},
		{"float32 tokens", SM75, "f32", 64, 4096, 4096, true, "gemv_f32_8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := ChooseGemm(c.target, c.t, c.m, c.n, c.k, c.decode, 108)
			if got != c.want {
				t.Errorf("chose %s, want %s", got, c.want)
			}
			if k := Find(got); !k.On(c.target) && !(c.target == SM90A && k.On(SM80)) {
				t.Errorf("%s has no %s", c.target, got)
			}
		})
	}
}

// A row's bits must not depend on the rows beside it, so neither may the class of kernel that makes it.
func TestTheClassOfAProductDoesNotDependOnItsRows(t *testing.T) {
	for _, target := range []Target{SM75, SM80, SM90A} {
		for _, decode := range []bool{false, true} {
			classes := map[string]bool{}
			for m := 1; m <= 1<<15; m += 1 + m/8 {
				class, _, _ := strings.Cut(ChooseGemm(target, "f16", m, 1024, 1024, decode, 132), "_")
				classes[class] = true
			}
			if len(classes) != 1 {
				t.Errorf("%s, decode %v: %v", target, decode, classes)
			}
		}
	}
}

func TestGridOfAProduct(t *testing.T) {
	a := &Gemm{M: 129, N: 300, K: 64}
	for _, c := range []struct {
		kernel string
		want   uint32
	}{
		{"gemm_f16_128x128", 2 * 3},
		{"gemm_f16_64x64", 3 * 5},
		{"wgmma_f16_128x256", 2 * 2},
		{"wgmma_f16_128x128", 5}, // persistent: one for each multiprocessor
		{"gemv_f16_8", 17 * 19},
	} {
		if got := a.Grid(Find(c.kernel), 5); got != [3]uint32{c.want, 1, 1} {
			t.Errorf("%s: grid %v, want %d", c.kernel, got, c.want)
		}
	}
}
