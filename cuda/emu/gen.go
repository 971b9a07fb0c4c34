//go:build ignore

// Gen writes ops_gen.go: one loop over the lanes for every instruction that kernels execute often. The rest of the
// instruction set runs through one function per lane (lane.go), which is slower and much shorter.
package main

import (
	"bytes"
	"fmt"
	"go/format"
	"log"
	"os"
	"strings"
)

// op is one row: the opcodes it stands for, the banks of destination and sources (w and f: 32 bits, l and d: 64 bits,
// h: 16 bits, s: like f, but the expression sees float32 values), the expression over a[l], b[l], c[l], and the class.
type op struct{ names, sig, expr, class string }

// fma is the body of fma32 written out, because a call for every lane would cost as much as the work.
const fma = `{
s := float64(float64(a[l])*float64(b[l])) + float64(c[l])
if t := math.Float64bits(s); t&0x1fffffff == 0x10000000 || t<<1-1 < (1023-126)<<53 {
	d[l] = float32s(fma32(bits32(a[l]), bits32(b[l]), bits32(c[l])))
} else {
	d[l] = float32(s)
}
}`

var ops = []op{
	{"add.s32 add.u32 add.b32", "www", "a[l] + b[l]", "Int"},
	{"sub.s32 sub.u32", "www", "a[l] - b[l]", "Int"},
	{"mul.lo.s32 mul.lo.u32", "www", "a[l] * b[l]", "Int"},
	{"mul.hi.u32", "www", "uint32(uint64(a[l]) * uint64(b[l]) >> 32)", "Int"},
	{"mad.lo.s32 mad.lo.u32", "wwww", "a[l]*b[l] + c[l]", "Int"},
	{"and.b32", "www", "a[l] & b[l]", "Int"},
	{"or.b32", "www", "a[l] | b[l]", "Int"},
	{"xor.b32", "www", "a[l] ^ b[l]", "Int"},
	{"not.b32", "ww", "^a[l]", "Int"},
	{"neg.s32", "ww", "-a[l]", "Int"},
	{"shl.b32", "www", "a[l] << b[l]", "Int"},
	{"shr.u32 shr.b32", "www", "a[l] >> b[l]", "Int"},
	{"shr.s32", "www", "uint32(int32(a[l]) >> b[l])", "Int"},
	{"min.s32", "www", "uint32(min(int32(a[l]), int32(b[l])))", "Int"},
	{"max.s32", "www", "uint32(max(int32(a[l]), int32(b[l])))", "Int"},
	{"min.u32", "www", "min(a[l], b[l])", "Int"},
	{"max.u32", "www", "max(a[l], b[l])", "Int"},
	{"bfe.u32", "wwww", "bfe32(a[l], b[l], c[l])", "Int"},
	{"mov.b32 mov.u32 mov.s32", "ww", "a[l]", "Move"},
	{"mov.f32", "ff", "a[l]", "Move"},
	{"mov.b16 mov.u16 mov.s16", "hh", "a[l]", "Move"},
	{"mov.b64 mov.u64 mov.s64", "ll", "a[l]", "Move"},
	{"mov.f64", "dd", "a[l]", "Move"},
	{"add.f32 add.rn.f32", "sss", "a[l] + b[l]", "Float"},
	{"sub.f32 sub.rn.f32", "sss", "a[l] - b[l]", "Float"},
	{"mul.f32 mul.rn.f32", "sss", "a[l] * b[l]", "Float"},
	{"fma.rn.f32 mad.rn.f32", "ssss", fma, "Float"},
	{"max.f32", "fff", "max32(a[l], b[l])", "Float"},
	{"min.f32", "fff", "min32(a[l], b[l])", "Float"},
	{"neg.f32", "ff", "a[l] ^ 1<<31", "Float"},
	{"abs.f32", "ff", "a[l] &^ (1 << 31)", "Float"},
	{"add.f64 add.rn.f64", "ddd", "math.Float64bits(math.Float64frombits(a[l]) + math.Float64frombits(b[l]))", "Float"},
	{"mul.f64 mul.rn.f64", "ddd", "math.Float64bits(math.Float64frombits(a[l]) * math.Float64frombits(b[l]))", "Float"},
	{"ex2.approx.ftz.f32", "ff", "ex2ftz(a[l])", "Special"},
	{"rcp.approx.ftz.f32", "ff", "rcpftz(a[l])", "Special"},
	{"cvt.rn.f32.s32", "sw", "float32(int32(a[l]))", "Convert"},
	{"cvt.rn.f32.u32", "sw", "float32(a[l])", "Convert"},
	{"cvt.rn.bf16x2.f32", "wff", "uint32(bf16(a[l]))<<16 | uint32(bf16(b[l]))", "Convert"},
	{"cvt.rn.f16x2.f32", "wff", "uint32(half(a[l]))<<16 | uint32(half(b[l]))", "Convert"},
	{"cvt.rn.f16.f32", "hf", "uint32(half(a[l]))", "Convert"},
	{"cvt.f32.f16", "fh", "halves[uint16(a[l])]", "Convert"},
	{"add.s64 add.u64", "lll", "a[l] + b[l]", "Int"},
	{"sub.s64 sub.u64", "lll", "a[l] - b[l]", "Int"},
	{"mul.lo.s64 mul.lo.u64", "lll", "a[l] * b[l]", "Int"},
	{"mad.lo.s64 mad.lo.u64", "llll", "a[l]*b[l] + c[l]", "Int"},
	{"and.b64", "lll", "a[l] & b[l]", "Int"},
	{"or.b64", "lll", "a[l] | b[l]", "Int"},
	{"xor.b64", "lll", "a[l] ^ b[l]", "Int"},
	{"shl.b64", "llw", "a[l] << b[l]", "Int"},
	{"shr.u64 shr.b64", "llw", "a[l] >> b[l]", "Int"},
	{"shr.s64", "llw", "uint64(int64(a[l]) >> b[l])", "Int"},
	{"mul.wide.u32", "lww", "uint64(a[l]) * uint64(b[l])", "Int"},
	{"mul.wide.s32", "lww", "uint64(int64(int32(a[l])) * int64(int32(b[l])))", "Int"},
	{"mad.wide.u32", "lwwl", "uint64(a[l])*uint64(b[l]) + c[l]", "Int"},
	{"mad.wide.s32", "lwwl", "uint64(int64(int32(a[l]))*int64(int32(b[l]))) + c[l]", "Int"},
	{"cvt.u64.u32 cvt.s64.u32", "lw", "uint64(a[l])", "Convert"},
	{"cvt.s64.s32 cvt.u64.s32", "lw", "uint64(int64(int32(a[l])))", "Convert"},
}

var compares = []struct{ types, sig, cast string }{
	{"s32", "ww", "int32(%s)"}, {"u32 b32", "ww", "%s"}, {"f32", "ss", "%s"},
	{"s64", "ll", "int64(%s)"}, {"u64 b64", "ll", "%s"},
}

var operators = []struct{ name, op string }{
	{"eq", "=="}, {"ne", "!="}, {"lt", "<"}, {"le", "<="}, {"gt", ">"}, {"ge", ">="},
	{"lo", "<"}, {"ls", "<="}, {"hi", ">"}, {"hs", ">="},
}

// register is the expression of the register in a field of the instruction, as the letter of a signature says.
func register(c byte, field string) string {
	switch c {
	case 'l', 'd':
		return "&w.r64[in." + field + "]"
	case 's':
		return "floats(&w.r32[in." + field + "])"
	}
	return "&w.r32[in." + field + "]"
}

func goName(name string) string {
	parts := strings.Split(name, ".")
	for i, p := range parts[1:] {
		parts[i+1] = strings.ToUpper(p[:1]) + p[1:]
	}
	return "op" + strings.ToUpper(parts[0][:1]) + parts[0][1:] + strings.Join(parts[1:], "")
}

func main() {
	var funcs, table bytes.Buffer
	row := func(names, sig, fn, class string) {
		for n := range strings.FieldsSeq(names) {
			fmt.Fprintf(&table, "\t%q: {%s, %q, Class%s},\n", n, fn, strings.ReplaceAll(sig, "s", "f"), class)
		}
	}
	for _, o := range ops {
		fn := goName(strings.Fields(o.names)[0])
		row(o.names, o.sig, fn, o.class)
		vars, vals := "d", register(o.sig[0], "d")
		for i := 1; i < len(o.sig); i++ {
			v := string(rune('a' + i - 1))
			vars += ", " + v
			vals += ", " + register(o.sig[i], v)
		}
		assign := "d[l] = " + o.expr
		if o.expr[0] == '{' {
			assign = o.expr[1 : len(o.expr)-1]
		}
		full := "for l := range d {\n" + assign + "\n}"
		if o.expr == "a[l]" {
			full = "*d = *a"
		}
		fmt.Fprintf(&funcs, `
func %s(w *warp, in *inst, m uint32) {
	%s := %s
	if m == allLanes {
		%s
		return
	}
	for ; m != 0; m &= m - 1 {
		l := bits.TrailingZeros32(m) & 31
		%s
	}
}
`, fn, vars, vals, full, assign)
	}
	for _, c := range compares {
		for _, o := range operators {
			t := strings.Fields(c.types)[0]
			unsignedOnly := o.name == "lo" || o.name == "ls" || o.name == "hi" || o.name == "hs"
			if unsignedOnly && t[0] != 'u' {
				continue
			}
			fn := goName("setp." + o.name + "." + t)
			var names []string
			for ty := range strings.FieldsSeq(c.types) {
				if !unsignedOnly || ty[0] == 'u' {
					names = append(names, "setp."+o.name+"."+ty)
				}
			}
			row(strings.Join(names, " "), "p"+c.sig, fn, "Compare")
			fmt.Fprintf(&funcs, `
func %s(w *warp, in *inst, m uint32) {
	a, b := %s, %s
	var r uint32
	for l := range a {
		if %s %s %s {
			r |= 1 << l
		}
	}
	w.pred[in.d] = w.pred[in.d]&^m | r&m
}
`, fn, register(c.sig[0], "a"), register(c.sig[1], "b"), fmt.Sprintf(c.cast, "a[l]"), o.op, fmt.Sprintf(c.cast, "b[l]"))
		}
	}
	for _, s := range []struct{ types, sig string }{{"b32 s32 u32", "ww"}, {"f32", "ff"}, {"b16 s16 u16", "hh"}, {"b64 s64 u64", "ll"}, {"f64", "dd"}} {
		fn := goName("selp." + strings.Fields(s.types)[0])
		for t := range strings.FieldsSeq(s.types) {
			row("selp."+t, s.sig[:1]+s.sig+"p", fn, "Move")
		}
		c := s.sig[0]
		fmt.Fprintf(&funcs, `
func %s(w *warp, in *inst, m uint32) {
	d, a, b := %s, %s, %s
	p := w.pred[in.p]
	if in.pneg {
		p = ^p
	}
	for ; m != 0; m &= m - 1 {
		l := bits.TrailingZeros32(m) & 31
		if p>>l&1 != 0 {
			d[l] = a[l]
		} else {
			d[l] = b[l]
		}
	}
}
`, fn, register(c, "d"), register(c, "a"), register(c, "b"))
	}
	for _, o := range []struct{ name, expr string }{{"and", "a & b"}, {"or", "a | b"}, {"xor", "a ^ b"}} {
		fn := goName(o.name + ".pred")
		row(o.name+".pred", "ppp", fn, "Compare")
		fmt.Fprintf(&funcs, "\nfunc %s(w *warp, in *inst, m uint32) {\n\ta, b := w.pred[in.a], w.pred[in.b]\n\tw.pred[in.d] = w.pred[in.d]&^m | (%s)&m\n}\n", fn, o.expr)
	}
	for _, o := range []struct{ name, expr string }{{"not", "^a"}, {"mov", "a"}} {
		fn := goName(o.name + ".pred")
		row(o.name+".pred", "pp", fn, "Compare")
		fmt.Fprintf(&funcs, "\nfunc %s(w *warp, in *inst, m uint32) {\n\ta := w.pred[in.a]\n\tw.pred[in.d] = w.pred[in.d]&^m | %s&m\n}\n", fn, o.expr)
	}
	src := fmt.Sprintf("// Code generated by gen.go; DO NOT EDIT.\n\npackage emu\n\nimport (\n\t\"math\"\n\t\"math/bits\"\n)\n\nvar hotOps = map[string]hotOp{\n%s}\n%s", table.String(), funcs.String())
	out, err := format.Source([]byte(src))
	if err != nil {
		log.Fatal(err)
	}
	to := "ops_gen.go"
	if len(os.Args) > 1 {
		to = os.Args[1]
	}
	if err := os.WriteFile(to, out, 0o644); err != nil {
		log.Fatal(err)
	}
}
