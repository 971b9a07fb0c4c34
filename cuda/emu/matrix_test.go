package emu

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// mmaCase is a product whose fragments the test lays out by the tables of the PTX ISA.
type mmaCase struct {
	shape       string
	m, k        int
	d, a, c     string // types; B has A's
	per         int    // elements of a register
	tolerance   float64
	decode      func(uint32) float64
	random      func(*rand.Rand) uint32
	elementBits int
}

var mmaCases = []mmaCase{
	{"m16n8k16", 16, 16, "f32", "f16", "f32", 2, 1e-6, func(x uint32) float64 { return fromF16(uint16(x)) }, func(r *rand.Rand) uint32 { return uint32(toF16(float32(r.NormFloat64()))) }, 16},
	{"m16n8k8", 16, 8, "f32", "f16", "f32", 2, 1e-6, func(x uint32) float64 { return fromF16(uint16(x)) }, func(r *rand.Rand) uint32 { return uint32(toF16(float32(r.NormFloat64()))) }, 16},
	{"m16n8k16", 16, 16, "f16", "f16", "f16", 2, 1e-3, func(x uint32) float64 { return fromF16(uint16(x)) }, func(r *rand.Rand) uint32 { return uint32(toF16(float32(r.NormFloat64()))) }, 16},
	{"m16n8k16", 16, 16, "f32", "bf16", "f32", 2, 1e-6, asBF16.decode32, func(r *rand.Rand) uint32 { return uint32(toBF16(float32(r.NormFloat64()))) }, 16},
	{"m16n8k8", 16, 8, "f32", "bf16", "f32", 2, 1e-6, asBF16.decode32, func(r *rand.Rand) uint32 { return uint32(toBF16(float32(r.NormFloat64()))) }, 16},
	{"m16n8k8", 16, 8, "f32", "tf32", "f32", 1, 1e-6, func(x uint32) float64 { return float64(math.Float32frombits(x &^ 0x1fff)) }, func(r *rand.Rand) uint32 { return math.Float32bits(float32(r.NormFloat64())) }, 32},
	{"m16n8k4", 16, 4, "f32", "tf32", "f32", 1, 1e-6, func(x uint32) float64 { return float64(math.Float32frombits(x &^ 0x1fff)) }, func(r *rand.Rand) uint32 { return math.Float32bits(float32(r.NormFloat64())) }, 32},
	{"m16n8k32", 16, 32, "s32", "s8", "s32", 4, 0, func(x uint32) float64 { return float64(int8(x)) }, func(r *rand.Rand) uint32 { return r.Uint32() & 0xff }, 8},
	{"m16n8k16", 16, 16, "s32", "u8", "s32", 4, 0, func(x uint32) float64 { return float64(uint8(x)) }, func(r *rand.Rand) uint32 { return r.Uint32() & 0xff }, 8},
	{"m8n8k16", 8, 16, "s32", "s8", "s32", 4, 0, func(x uint32) float64 { return float64(int8(x)) }, func(r *rand.Rand) uint32 { return r.Uint32() & 0xff }, 8},
}

func (n narrow) decode32(x uint32) float64 { return n.from(uint16(x)) }

func TestMatrixProducts(t *testing.T) {
	for _, c := range mmaCases {
		t.Run(fmt.Sprintf("%s_%s_%s", c.shape, c.a, c.d), func(t *testing.T) {
			r := rand.New(rand.NewPCG(17, 18))
			a, b := make([]uint32, c.m*c.k), make([]uint32, 8*c.k)
			for i := range a {
				a[i] = c.random(r)
			}
			for i := range b {
				b[i] = c.random(r)
			}
			na, nb, nc := c.m/8*c.k/(4*c.per), c.k/(4*c.per), c.m/4
			if c.c == "f16" {
				nc /= 2
			}
			acc := make([]float64, c.m*8)
			buf := make([]byte, 32*64)
			put := func(lane, reg int, v uint32) { binary.LittleEndian.PutUint32(buf[64*lane+4*reg:], v) }
			for lane := range 32 {
				g, tt := lane/4, lane%4
				for reg := range na {
					row := g
					col := 4 * c.per * reg
					if c.m == 16 {
						row, col = g+8*(reg%2), 4*c.per*(reg/2)
					}
					var v uint32
					for i := range c.per {
						v |= a[row*c.k+col+c.per*tt+i] << (c.elementBits * i)
					}
					put(lane, reg, v)
				}
				for reg := range nb {
					var v uint32
					for i := range c.per {
						v |= b[g*c.k+4*c.per*reg+c.per*tt+i] << (c.elementBits * i)
					}
					put(lane, 4+reg, v)
				}
				for i := range c.m / 4 {
					row, col := g+8*(i/2), 2*tt+i%2
					v := float64(row - 3*col)
					acc[row*8+col] = v
					switch c.c {
					case "s32":
						put(lane, 8+i, uint32(int32(v)))
					case "f32":
						put(lane, 8+i, math.Float32bits(float32(v)))
					default:
						at := 64*lane + 4*(8+i/2) + 2*(i%2)
						binary.LittleEndian.PutUint16(buf[at:], toF16(float32(v)))
					}
				}
			}
			list := func(from, n int) string {
				s := make([]string, n)
				for i := range s {
					s[i] = fmt.Sprintf("%%r%d", from+i)
				}
				return "{" + strings.Join(s, ",") + "}"
			}
			body := "mul.wide.u32 %d2, %r0, 64; add.u64 %d3, %d0, %d2;"
			for i := range 12 {
				body += fmt.Sprintf("ld.global.u32 %%r%d, [%%d3+%d];", 10+i, 4*i)
			}
			body += fmt.Sprintf("mma.sync.aligned.%s.row.col.%s.%s.%s.%s %s, %s, %s, %s;", c.shape, c.d, c.a, c.a, c.c, list(18, nc), list(10, na), list(14, nb), list(18, nc))
			for i := range nc {
				body += fmt.Sprintf("st.global.u32 [%%d3+%d], %%r%d;", 4*i, 18+i)
			}
			d := newDevice(t, "sm_80")
			p := d.upload(buf)
			s := d.run(compile(t, "sm_80", body), Launch{Block: [3]int{32}}, p, p)
			if s.Flops != int64(2*c.m*8*c.k) {
				t.Errorf("%d flops", s.Flops)
			}
			out := d.download(p, len(buf))
			for lane := range 32 {
				for i := range c.m / 4 {
					row, col := lane/4+8*(i/2), 2*(lane%4)+i%2
					want, scale := acc[row*8+col], 1.0
					for k := range c.k {
						x := c.decode(a[row*c.k+k]) * c.decode(b[col*c.k+k])
						want, scale = want+x, scale+math.Abs(x)
					}
					at := out[64*lane+4*i:]
					var got float64
					switch c.d {
					case "s32":
						got = float64(int32(binary.LittleEndian.Uint32(at)))
					case "f32":
						got = float64(math.Float32frombits(binary.LittleEndian.Uint32(at)))
					default:
						got = fromF16(binary.LittleEndian.Uint16(out[64*lane+2*i:]))
					}
					if math.Abs(got-want) > c.tolerance*scale {
						t.Fatalf("row %d column %d: %v, want %v", row, col, got, want)
					}
				}
			}
		})
	}
}

// wgmmaLayout is a way to keep a matrix in shared memory: the offset of (row, k) in bytes and the descriptor's fields.
type wgmmaLayout struct {
	name            string
	trans           int
	mode            uint64
	leading, stride uint64
	offset          func(row, k int) int
	fromRegs        bool // A comes in registers
}

// The layouts are written down from the figures of the PTX ISA's "Shared Memory Matrix Layout" for 16-bit elements, k16.
var wgmmaLayouts = []wgmmaLayout{
	{"K-major, no swizzle", 0, 0, 128, 256, func(r, k int) int { return r/8*256 + k/8*128 + r%8*16 + k%8*2 }, false},
	{"A in registers", 0, 0, 128, 256, func(r, k int) int { return r/8*256 + k/8*128 + r%8*16 + k%8*2 }, true},
	{"K-major, 32 bytes", 0, 3, 16, 256, func(r, k int) int { b := r*32 + k*2; return b ^ b>>7&1<<4 }, false},
	{"K-major, 64 bytes", 0, 2, 16, 512, func(r, k int) int { b := r*64 + k*2; return b ^ b>>7&3<<4 }, false},
	{"K-major, 128 bytes", 0, 1, 16, 1024, func(r, k int) int { b := r*128 + k*2; return b ^ b>>7&7<<4 }, false},
	{"M-major, 128 bytes", 1, 1, 2048, 1024, func(r, k int) int { b := r/64*2048 + k/8*1024 + k%8*128 + r%64*2; return b ^ b>>7&7<<4 }, false},
}

func TestWgmmaLayouts(t *testing.T) {
	const n = 32
	for _, c := range wgmmaLayouts {
		t.Run(c.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(19, 20))
			a, b := make([]float64, 64*16), make([]float64, 64*16) // B is padded to 64 rows
			shared := make([]byte, 16384)
			place := func(m []float64, base int) {
				for i := range m {
					h := toBF16(float32(r.NormFloat64()))
					m[i] = asBF16.from(h)
					binary.LittleEndian.PutUint16(shared[base+c.offset(i/16, i%16):], h)
				}
			}
			place(a, 0)
			place(b, 8192)
			var regs []string
			var body strings.Builder
			body.WriteString("mov.u32 %r30, smem; mov.u32 %r4, %r0; L: mul.wide.u32 %d2, %r4, 4; add.u64 %d3, %d0, %d2; ld.global.u32 %r5, [%d3]; shl.b32 %r6, %r4, 2; add.u32 %r6, %r6, %r30; st.shared.u32 [%r6], %r5; add.u32 %r4, %r4, 128; setp.lt.u32 %p1, %r4, 4096; @%p1 bra L;\n")
			body.WriteString("fence.proxy.async; bar.sync 0; cvt.u64.u32 %d4, %r30; shr.u64 %d4, %d4, 4;")
			fmt.Fprintf(&body, "or.b64 %%d4, %%d4, %d; add.u64 %%d5, %%d4, 512;\n", c.mode<<62|c.stride>>4<<32|c.leading>>4<<16)
			for i := range n / 2 {
				regs = append(regs, fmt.Sprintf("%%f%d", i))
				fmt.Fprintf(&body, "mov.f32 %%f%d, 0f3f000000;", i)
			}
			operand, trans := "%d4", fmt.Sprintf("%d, %d", c.trans, c.trans)
			if c.fromRegs {
				body.WriteString("mul.wide.u32 %d2, %r0, 64; add.u64 %d3, %d1, %d2; ld.global.v4.u32 {%r10,%r11,%r12,%r13}, [%d3];\n")
				operand, trans = "{%r10,%r11,%r12,%r13}", "0"
			}
			fmt.Fprintf(&body, "wgmma.fence.sync.aligned; wgmma.mma_async.sync.aligned.m64n%dk16.f32.bf16.bf16 {%s}, %s, %%d5, 1, 1, -1, %s;\n", n, strings.Join(regs, ","), operand, trans)
			body.WriteString("wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0; mul.wide.u32 %d2, %r0, 64; add.u64 %d3, %d1, %d2;\n")
			for i := range n / 2 {
				fmt.Fprintf(&body, "st.global.f32 [%%d3+%d], %%f%d;", 4*i, i)
			}
			d := newDevice(t, "sm_90a")
			frags := make([]byte, 128*64) // A in the fragments of mma.m16n8k16, 16 rows for each warp
			for thread := range 128 {
				for i := range 8 {
					row, k := thread/32*16+thread%32/4+i/2%2*8, i/4*8+thread%4*2+i%2
					binary.LittleEndian.PutUint16(frags[64*thread+2*i:], toBF16(float32(a[row*16+k])))
				}
			}
			q := d.upload(frags)
			d.run(compile(t, "sm_90a", body.String()), Launch{Block: [3]int{128}}, d.upload(shared), q)
			out := d.download(q, 128*64)
			for thread := range 128 {
				for i := range n / 2 {
					row, col := thread/32*16+thread%32/4+i/2%2*8, i/4*8+thread%4*2+i%2
					want := 0.5
					for k := range 16 {
						want -= a[row*16+k] * b[col*16+k]
					}
					if got := float64(math.Float32frombits(binary.LittleEndian.Uint32(out[64*thread+4*i:]))); math.Abs(got-want) > 1e-5 {
						t.Fatalf("row %d column %d: %v, want %v", row, col, got, want)
					}
				}
			}
		})
	}
}

// TestTensorCopies loads a box that sticks out of a tensor of three dimensions, and stores it elsewhere.
func TestTensorCopies(t *testing.T) {
	for _, sw := range []Swizzle{SwizzleNone, Swizzle32, Swizzle64, Swizzle128} {
		dims, box := []uint64{24, 5, 3}, []uint32{8, 4, 2}
		src := make([]byte, 24*5*3*4)
		for i := range 24 * 5 * 3 {
			binary.LittleEndian.PutUint32(src[4*i:], uint32(1000+i))
		}
		d := newDevice(t, "sm_90")
		from, to := d.upload(src), d.upload(make([]byte, len(src)))
		tile := func(base uint64) TensorMap {
			m, err := EncodeTiled(Tile{Base: base, Element: 4, Dims: dims, Strides: []uint64{96, 480}, Box: box, Swizzle: sw})
			if err != nil {
				t.Fatal(err)
			}
			return m
		}
		src2 := strings.Replace(text("sm_90", `mov.u32 %r30, smem; mov.u32 %r20, bar; setp.eq.u32 %p0, %r0, 0; @%p0 mbarrier.init.shared.b64 [%r20], 1; bar.sync 0; mov.u64 %d4, p; cvta.param.u64 %d4, %d4; mov.u64 %d5, q; cvta.param.u64 %d5, %d5;
mov.u32 %r1, 20; mov.u32 %r2, -1; mov.u32 %r3, 1;
@%p0 mbarrier.arrive.expect_tx.shared.b64 %d6, [%r20], 256;
@%p0 cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%r30], [%d4, {%r1, %r2, %r3}], [%r20];
W: mbarrier.try_wait.parity.shared.b64 %p3, [%r20], 0; @!%p3 bra W;
@%p0 cp.async.bulk.tensor.3d.global.shared::cta.tile.bulk_group [%d5, {%r1, %r2, %r3}], [%r30];
cp.async.bulk.commit_group; cp.async.bulk.wait_group 0;
ld.param.u64 %d7, [o]; shl.b32 %r5, %r0, 3; add.u32 %r5, %r5, %r30; ld.shared.u64 %d8, [%r5]; mul.wide.u32 %d9, %r0, 8; add.u64 %d7, %d7, %d9; st.global.u64 [%d7], %d8;`),
			".param .u64 p, .param .u64 q", ".param .align 64 .b8 p[128], .param .align 64 .b8 q[128], .param .u64 o", 1)
		src2 = strings.NewReplacer("ld.param.u64 %d0, [p];", "", "ld.param.u64 %d1, [q];", "").Replace(src2)
		m, err := Parse([]byte(src2))
		if err != nil {
			t.Fatal(err)
		}
		k, err := m.Kernel("k")
		if err != nil {
			t.Fatal(err)
		}
		o := d.alloc(256)
		d.run(k, Launch{Block: [3]int{32}}, tile(from), tile(to), o)
		shared, back := d.download(o, 256), d.download(to, len(src))
		for i := range 64 {
			x, y, z := 20+i%8, -1+i/8%4, 1+i/32
			var want uint32
			if x < 24 && y >= 0 && y < 5 && z < 3 {
				want = uint32(1000 + x + 24*y + 120*z)
				at := 4 * (x + 24*y + 120*z)
				if got := binary.LittleEndian.Uint32(back[at:]); got != want {
					t.Fatalf("swizzle %d: stored (%d,%d,%d) is %d, want %d", sw, x, y, z, got, want)
				}
			}
			// The shared array starts at a multiple of 1024, so offsets swizzle like addresses.
			at := 4 * i
			at ^= at >> 7 & (1<<sw - 1) << 4
			if got := binary.LittleEndian.Uint32(shared[at:]); got != want {
				t.Fatalf("swizzle %d: element (%d,%d,%d) is %d, want %d", sw, x, y, z, got, want)
			}
		}
	}
}
