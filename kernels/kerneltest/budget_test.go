package kerneltest

import (
	"path"
	"testing"

	"remote-client-server/kernels"
)

// budget bounds what a kernel's largest case may cost, so that a slow kernel fails as a wrong one does. A zero is no bound.
type budget struct {
	kernels string  // pattern of target/kernel
	flops   float64 // of tensor instructions for each warp instruction, at least
	bytes   float64 // of global memory for each warp instruction, at least
	sectors float64 // 32-byte sectors for each 32 bytes that lanes ask for, at most
	banks   float64 // cycles of shared memory for each cycle without bank conflicts, at most
}

// budgets are what was counted and a tenth of room; the first that fits a kernel counts.
var budgets = []budget{
	{"sm_75/gemm_*f16_128x128", 460, 0, 1.05, 1},
	{"sm_75/gemm_*f16_64x64", 566, 0, 0.54, 1},
	{"*/gemm_f32_128x128", 0, 1.5, 0.50, 1},
	{"*/gemm_f32_64x64", 0, 2.8, 0.50, 1},
	{"sm_75/gemv_*f16_8", 127, 0, 1.21, 1},
	{"sm_75/gemv_*f16_32", 325, 0, 1.04, 1},
	{"*/gemv_f32_8", 0, 19.4, 1.05, 1},
	{"*/attention_any_*", 0, 1.6, 1.04, 1},
	{"sm_75/attention_*f16_32", 133, 0, 0.93, 1},
	{"sm_75/attention_*f16_64", 205, 0, 0.99, 1},
	{"sm_75/attention_*f16_80", 242, 0, 1.00, 1},
	{"sm_75/attention_*f16_96", 253, 0, 1.01, 1},
	{"sm_75/attention_*f16_128", 285, 0, 1.02, 1},
	{"*/paged_any_*", 0, 1.4, 1.08, 1},
	{"*/decode_any_*", 0, 1.6, 1.05, 1},
	{"*/paged_*f16_32", 172, 0, 1.02, 1},
	{"*/paged_*f16_64", 271, 0, 1.05, 1},
	{"*/paged_*f16_80", 316, 0, 1.06, 1},
	{"*/paged_*f16_96", 338, 0, 1.06, 1},
	{"*/paged_*f16_128", 383, 0, 1.07, 1},
	{"*/decode_*f16_32", 72, 6.4, 0.99, 1},
	{"*/decode_*f16_64", 111, 9.1, 1.03, 1},
	{"*/decode_*f16_80", 122, 9.9, 1.05, 1},
	{"*/decode_*f16_96", 132, 10.7, 1.05, 1},
	{"*/decode_*f16_128", 146, 11.7, 1.06, 1},
	{"*/decode_*f16_256", 150, 13.5, 1.20, 1},
	{"*/append_f32", 0, 3.1, 1.21, 0},
	{"*/append_*f16", 0, 2.3, 1.26, 0},
	{"*/norm_f32_*", 0, 5.9, 1.06, 1},
	{"*/norm_*f16_*", 0, 4.2, 1.08, 1},
	{"*/embed_f32_*", 0, 3.7, 1.00, 1},
	{"*/embed_*f16_*", 0, 2.2, 0.99, 1},
	{"*/gather_16", 0, 13.1, 1.02, 0},
	{"*/gather_32", 0, 15.4, 0.99, 0},
	{"*/pool_f32", 0, 12.4, 0.76, 1},
	{"*/pool_*f16", 0, 5.6, 0.96, 1},
	{"*/convert_*", 0, 6.1, 1.05, 0},
	{"*/sample", 0, 5.4, 4.13, 1.32}, // of a row on no vector's boundary, whose threshold is found bit by bit
	{"*/copy_blocks", 0, 10, 1.1, 0},
	{"*/angles", 0, 4.9, 0.85, 0},
	{"*/rotate_f32", 0, 9.8, 1.05, 0},
	{"*/rotate_*f16", 0, 6.2, 1.05, 0},
	{"sm_80/gemm_*f16_128x128", 576, 0, 1.05, 1},
	{"sm_80/gemm_*f16_64x64", 921, 0, 0.58, 1},
	{"sm_80/gemv_*f16_8", 132, 0, 1.21, 1},
	{"sm_80/gemv_*f16_32", 356, 0, 1.04, 1},
	{"sm_80/attention_*f16_32", 159, 0, 0.93, 1},
	{"sm_80/attention_*f16_64", 256, 0, 0.99, 1},
	{"sm_80/attention_*f16_80", 312, 0, 1.00, 1},
	{"sm_80/attention_*f16_96", 325, 0, 1.01, 1},
	{"sm_80/attention_*f16_128", 370, 0, 1.02, 1},
	{"sm_90a/wgmma_*f16_128x256", 923, 0, 1.05, 1},
	{"sm_90a/wgmma_*f16_128x128", 810, 0, 1.05, 1},
}

func checkBudgets(t *testing.T, p *profiles) {
	for _, target := range targets {
		for _, k := range kernels.All() {
			name := string(target) + "/" + k.Name
			s := p.largest[name]
			if s == nil || !k.On(target) {
				continue
			}
			flops, bytes := float64(s.Flops)/float64(s.Warp), float64(s.Bytes)/float64(s.Warp)
			sectors := float64(s.Sectors*32) / float64(max(s.Bytes, 1))
			banks := float64(s.Wavefronts) / float64(max(s.Ideal, 1))
			t.Logf("%-28s %8d warp instructions, %6.1f flops and %5.1f bytes each, %.2f sectors, %.2f bank cycles", name, s.Warp, flops, bytes, sectors, banks)
			b := budgetOf(name)
			switch {
			case b == nil:
				t.Errorf("%s has no budget", name)
			case flops < b.flops || bytes < b.bytes || b.sectors > 0 && sectors > b.sectors || b.banks > 0 && banks > b.banks:
				t.Errorf("%s: %.1f flops a warp instruction (at least %.1f), %.1f bytes (at least %.1f), %.2f sectors (at most %.2f), %.2f bank cycles (at most %.2f)",
					name, flops, b.flops, bytes, b.bytes, sectors, b.sectors, banks, b.banks)
			}
		}
	}
}

func budgetOf(name string) *budget {
	for i := range budgets {
		if ok, _ := path.Match(budgets[i].kernels, name); ok {
			return &budgets[i]
		}
	}
	return nil
}
