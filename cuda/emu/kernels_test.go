package emu

import (
	"context"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"testing"
)

// device is a Device with helpers that end the test on an error.
type device struct {
	*Device
	t testing.TB
}

func newDevice(t testing.TB, target string) device {
	tg, err := ParseTarget(target)
	if err != nil {
		t.Fatal(err)
	}
	return device{NewDevice(tg), t}
}

func (d device) alloc(n int) uint64 {
	a, err := d.Alloc(n)
	if err != nil {
		d.t.Fatal(err)
	}
	return a
}

func (d device) upload(b []byte) uint64 {
	a := d.alloc(len(b))
	if err := d.Write(a, b); err != nil {
		d.t.Fatal(err)
	}
	return a
}

func (d device) download(addr uint64, n int) []byte {
	b := make([]byte, n)
	if err := d.Read(addr, b); err != nil {
		d.t.Fatal(err)
	}
	return b
}

// narrow is a 16-bit float type of a kernel under test.
type narrow struct {
	to   func(float32) uint16
	from func(uint16) float64
}

var (
	asBF16 = narrow{toBF16, func(h uint16) float64 { return float64(math.Float32frombits(uint32(h) << 16)) }}
	asF16  = narrow{toF16, fromF16}
)

// toBF16 rounds to nearest even by the definition: the upper half of the bits, plus one if the lower half is above the
// middle, or on it and the upper one is odd.
func toBF16(f float32) uint16 {
	u := math.Float32bits(f)
	hi, lo := uint16(u>>16), u&0xffff
	if lo > 0x8000 || lo == 0x8000 && hi&1 != 0 {
		hi++
	}
	return hi
}

// toF16 finds the nearest binary16 by its definition, ties to even.
func toF16(f float32) uint16 {
	v := math.Abs(float64(f))
	e := max(math.Floor(math.Log2(max(v, 1e-30))), -14)
	n := math.RoundToEven(v / math.Exp2(e-10))
	h := uint16((e+14)*1024 + n)
	if f < 0 {
		h |= 0x8000
	}
	return h
}

func fromF16(h uint16) float64 {
	e, m := int(h>>10&31), float64(h&1023)
	v := (1 + m/1024) * math.Exp2(float64(e-15))
	if e == 0 {
		v = m * math.Exp2(-24)
	}
	if h&0x8000 != 0 {
		v = -v
	}
	return v
}

func (d device) upload16(v []float64, n narrow) uint64 {
	b := make([]byte, 2*len(v))
	for i, x := range v {
		h := n.to(float32(x))
		v[i] = n.from(h)
		binary.LittleEndian.PutUint16(b[2*i:], h)
	}
	return d.upload(b)
}

func (d device) download16(addr uint64, count int, n narrow) []float64 {
	b := d.download(addr, 2*count)
	r := make([]float64, count)
	for i := range r {
		r[i] = n.from(binary.LittleEndian.Uint16(b[2*i:]))
	}
	return r
}

func normal(r *rand.Rand, n int) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = r.NormFloat64()
	}
	return v
}

func relative(got, want []float64) float64 {
	var n, s float64
	for i := range want {
		n += (got[i] - want[i]) * (got[i] - want[i])
		s += want[i] * want[i]
	}
	return math.Sqrt(n / s)
}

func readKernel(t testing.TB, file, name string) *Kernel {
	text, err := os.ReadFile("testdata/" + file + ".ptx")
	if err != nil {
		t.Fatal(err)
	}
	m, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	k, err := m.Kernel(name)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (d device) run(k *Kernel, l Launch, args ...any) *Stats {
	d.t.Helper()
	p, err := k.Pack(args...)
	if err != nil {
		d.t.Fatal(err)
	}
	l.Params = p
	s, err := d.Run(context.Background(), k, l)
	if err != nil {
		d.t.Fatal(err)
	}
	return s
}

// matmul is A times B transposed, plus a bias where there is one.
func matmul(a, b, bias []float64, m, n, k int) []float64 {
	c := make([]float64, m*n)
	for i := range m {
		for j := range n {
			s := 0.0
			if bias != nil {
				s = bias[j]
			}
			for q := range k {
				s += a[i*k+q] * b[j*k+q]
			}
			c[i*n+j] = s
		}
	}
	return c
}

func TestRMSNormKernel(t *testing.T) {
	d := newDevice(t, "sm_80")
	r := rand.New(rand.NewPCG(1, 2))
	k := readKernel(t, "rmsnorm", "rmsnorm_bf16")
	const rows, dim = 5, 4096
	x, w, res := normal(r, rows*dim), normal(r, dim), normal(r, rows*dim)
	px, pw, pr, py := d.upload16(x, asBF16), d.upload16(w, asBF16), d.upload16(res, asBF16), d.alloc(2*rows*dim)
	s := d.run(k, Launch{Grid: [3]int{rows}, Block: [3]int{256}, Profile: true}, py, px, pr, pw, dim, float32(1e-6))
	want := make([]float64, rows*dim)
	for i := range rows {
		sum := 0.0
		for j := range dim {
			v := asBF16.from(toBF16(float32(x[i*dim+j] + res[i*dim+j])))
			want[i*dim+j] = v
			sum += v * v
		}
		for j := range dim {
			want[i*dim+j] *= w[j] / math.Sqrt(sum/dim+1e-6)
		}
	}
	if e := relative(d.download16(py, rows*dim, asBF16), want); e > 3e-3 {
		t.Errorf("relative error %.2e", e)
	}
	if s.Sectors*32 != s.Bytes {
		t.Errorf("%d sectors for %d bytes: the accesses are not coalesced", s.Sectors, s.Bytes)
	}
}

func TestGEMVKernel(t *testing.T) {
	d := newDevice(t, "sm_80")
	r := rand.New(rand.NewPCG(3, 4))
	k := readKernel(t, "gemv", "gemv_bf16")
	const n, dim = 101, 1096
	w, x := normal(r, n*dim), normal(r, dim)
	pw, px, py := d.upload16(w, asBF16), d.upload16(x, asBF16), d.alloc(2*n)
	d.run(k, Launch{Grid: [3]int{(n + 7) / 8}, Block: [3]int{128}}, py, pw, px, n, dim)
	if e := relative(d.download16(py, n, asBF16), matmul(x, w, nil, 1, n, dim)); e > 3e-3 {
		t.Errorf("relative error %.2e", e)
	}
}

func TestGEMMKernels(t *testing.T) {
	for _, c := range []struct {
		file, name, target string
		narrow             narrow
		shared             int
		bar                float64
	}{
		{"gemm_mma", "gemm_bf16_mma", "sm_80", asBF16, 3 * 256 * 64, 3e-3},
		{"gemm_75", "gemm_f16_sm75", "sm_75", asF16, 2 * 256 * 64, 4e-4},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(5, 6))
			k := readKernel(t, c.file, c.name)
			for _, sh := range [][3]int{{16, 64, 64}, {130, 136, 72}} {
				m, n, q := sh[0], sh[1], sh[2]
				d := newDevice(t, c.target)
				a, b, bias := normal(r, m*q), normal(r, n*q), normal(r, n)
				pa, pb, pbias, pc := d.upload16(a, c.narrow), d.upload16(b, c.narrow), d.upload16(bias, c.narrow), d.alloc(2*m*n)
				s := d.run(k, Launch{Grid: [3]int{(n + 127) / 128, (m + 127) / 128}, Block: [3]int{256}, Shared: c.shared, Profile: true}, pc, pa, pb, pbias, m, n, q)
				if e := relative(d.download16(pc, m*n, c.narrow), matmul(a, b, bias, m, n, q)); e > c.bar {
					t.Errorf("%v: relative error %.2e", sh, e)
				}
				if s.Wavefronts != s.Ideal {
					t.Errorf("%v: %d wavefronts, %d without bank conflicts", sh, s.Wavefronts, s.Ideal)
				}
			}
		})
	}
}

func TestFlashKernel(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for _, c := range []struct {
		name                      string
		tq, tk, h, hk, hd, causal int
	}{
		{"flash_bf16_hd64", 70, 90, 2, 1, 64, 1},
		{"flash_bf16_hd128", 33, 100, 2, 1, 128, 0},
	} {
		d := newDevice(t, "sm_80")
		k := readKernel(t, "flash", c.name)
		q, kk, v := normal(r, c.tq*c.h*c.hd), normal(r, c.tk*c.hk*c.hd), normal(r, c.tk*c.hk*c.hd)
		pq, pk, pv, po := d.upload16(q, asBF16), d.upload16(kk, asBF16), d.upload16(v, asBF16), d.alloc(2*len(q))
		scale := 1 / math.Sqrt(float64(c.hd))
		d.run(k, Launch{Grid: [3]int{(c.tq + 63) / 64, c.h}, Block: [3]int{128}, Shared: 3 * 64 * c.hd * 2},
			po, pq, pk, pv, c.tq, c.tk, c.h, c.hk, float32(scale*math.Log2E), c.causal)
		want := make([]float64, len(q))
		for i := range c.tq {
			for h := range c.h {
				end := c.tk
				if c.causal != 0 {
					end = i + c.tk - c.tq + 1
				}
				p, sum := make([]float64, end), 0.0
				for j := range p {
					for x := range c.hd {
						p[j] += q[(i*c.h+h)*c.hd+x] * kk[(j*c.hk+h*c.hk/c.h)*c.hd+x]
					}
					p[j] = math.Exp(p[j] * scale)
					sum += p[j]
				}
				for j := range p {
					for x := range c.hd {
						want[(i*c.h+h)*c.hd+x] += p[j] / sum * v[(j*c.hk+h*c.hk/c.h)*c.hd+x]
					}
				}
			}
		}
		if e := relative(d.download16(po, len(q), asBF16), want); e > 5e-3 {
			t.Errorf("%s: relative error %.2e", c.name, e)
		}
	}
}

func TestHopperKernels(t *testing.T) {
	for _, c := range []struct {
		file   string
		shared int
		boxB   uint32
		grid   func(m, n int) [3]int
		shapes [][3]int
	}{
		{"gemm_wgmma", 4 * 256 * 128, 128, func(m, n int) [3]int { return [3]int{(n + 127) / 128, (m + 127) / 128} }, [][3]int{{128, 128, 64}, {140, 136, 328}}},
		{"gemm_wgmma2", 4*384*128 + 8*2048, 256, func(m, n int) [3]int { return [3]int{2} }, [][3]int{{128, 256, 64}, {130, 264, 328}}},
	} {
		t.Run(c.file, func(t *testing.T) {
			r := rand.New(rand.NewPCG(9, 10))
			k := readKernel(t, c.file, "gemm_bf16_"+c.file[5:])
			for _, sh := range c.shapes {
				m, n, q := sh[0], sh[1], sh[2]
				d := newDevice(t, "sm_90a")
				a, b := normal(r, m*q), normal(r, n*q)
				pa, pb, pc := d.upload16(a, asBF16), d.upload16(b, asBF16), d.alloc(2*m*n)
				tile := func(base uint64, rows int, box uint32) TensorMap {
					tm, err := EncodeTiled(Tile{Base: base, Element: 2, Dims: []uint64{uint64(q), uint64(rows)}, Strides: []uint64{uint64(2 * q)},
						Box: []uint32{64, box}, Swizzle: Swizzle128})
					if err != nil {
						t.Fatal(err)
					}
					return tm
				}
				s := d.run(k, Launch{Grid: c.grid(m, n), Block: [3]int{384}, Shared: c.shared}, pc, tile(pa, m, 128), tile(pb, n, c.boxB), m, n, q)
				if e := relative(d.download16(pc, m*n, asBF16), matmul(a, b, nil, m, n, q)); e > 3e-3 {
					t.Errorf("%v: relative error %.2e", sh, e)
				}
				if s.Flops == 0 || s.InFlight == 0 {
					t.Errorf("%v: counters %+v", sh, s.Counts)
				}
			}
		})
	}
}
