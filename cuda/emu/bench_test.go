package emu

import (
	"context"
	"math/rand/v2"
	"testing"
)

// benchmark runs one launch after the other and reports thread instructions a second.
func benchmark(b *testing.B, d device, k *Kernel, l Launch, args ...any) {
	p, err := k.Pack(args...)
	if err != nil {
		b.Fatal(err)
	}
	l.Params = p
	var threads, flops int64
	for b.Loop() {
		s, err := d.Run(context.Background(), k, l)
		if err != nil {
			b.Fatal(err)
		}
		threads += s.Thread
		flops += s.Flops
	}
	b.ReportMetric(float64(threads)/b.Elapsed().Seconds()/1e6, "Mthread-instr/s")
	if flops > 0 {
		b.ReportMetric(float64(flops)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
	}
}

func BenchmarkKernels(b *testing.B) {
	r := rand.New(rand.NewPCG(11, 12))
	random := func(d device, n int) uint64 { return d.upload16(normal(r, n), asBF16) }
	for _, checks := range []bool{true, false} {
		name := map[bool]string{true: "checked", false: "unchecked"}[checks]
		b.Run("rmsnorm/"+name, func(b *testing.B) {
			d := newDevice(b, "sm_80")
			const rows, dim = 64, 8192
			benchmark(b, d, readKernel(b, "rmsnorm", "rmsnorm_bf16"), Launch{Grid: [3]int{rows}, Block: [3]int{256}, NoRaceCheck: !checks},
				d.alloc(2*rows*dim), random(d, rows*dim), random(d, rows*dim), random(d, dim), dim, float32(1e-6))
		})
		b.Run("gemv/"+name, func(b *testing.B) {
			d := newDevice(b, "sm_80")
			const n, dim = 1024, 1024
			benchmark(b, d, readKernel(b, "gemv", "gemv_bf16"), Launch{Grid: [3]int{n / 8}, Block: [3]int{128}, NoRaceCheck: !checks},
				d.alloc(2*n), random(d, n*dim), random(d, dim), n, dim)
		})
		b.Run("gemm/"+name, func(b *testing.B) {
			d := newDevice(b, "sm_80")
			const m, n, q = 256, 256, 512
			benchmark(b, d, readKernel(b, "gemm_mma", "gemm_bf16_mma"), Launch{Grid: [3]int{2, 2}, Block: [3]int{256}, Shared: 3 * 256 * 64, NoRaceCheck: !checks},
				d.alloc(2*m*n), random(d, m*q), random(d, n*q), random(d, n), m, n, q)
		})
		b.Run("flash/"+name, func(b *testing.B) {
			d := newDevice(b, "sm_80")
			const t, h, hd = 256, 4, 64
			benchmark(b, d, readKernel(b, "flash", "flash_bf16_hd64"), Launch{Grid: [3]int{t / 64, h}, Block: [3]int{128}, Shared: 3 * 64 * hd * 2, NoRaceCheck: !checks},
				d.alloc(2*t*h*hd), random(d, t*h*hd), random(d, t*h*hd), random(d, t*h*hd), t, t, h, h, float32(0.18), 1)
		})
		b.Run("wgmma/"+name, func(b *testing.B) {
			d := newDevice(b, "sm_90a")
			const m, n, q = 128, 256, 256
			tile := func(base uint64, rows int) TensorMap {
				t, err := EncodeTiled(Tile{Base: base, Element: 2, Dims: []uint64{q, uint64(rows)}, Strides: []uint64{2 * q}, Box: []uint32{64, uint32(rows)}, Swizzle: Swizzle128})
				if err != nil {
					b.Fatal(err)
				}
				return t
			}
			benchmark(b, d, readKernel(b, "gemm_wgmma2", "gemm_bf16_wgmma2"), Launch{Block: [3]int{384}, Shared: 4*384*128 + 8*2048, NoRaceCheck: !checks},
				d.alloc(2*m*n), tile(random(d, m*q), m), tile(random(d, n*q), n), m, n, q)
		})
	}
}
