package golden

import (
	"fmt"
	"strings"
)

// kernel is the body of one instruction and what surrounds it: every thread loads its words of the input into %i0, %i1 …,
// and stores %o0, %o1 … as its words of the output. In the body, %thread is the thread in its block, %smem the address of shared memory,
// %source where the thread's words lie, and %h, %t, %d and %p are registers of 16, 32, 64 and 1 bits.
type kernel struct {
	target  string
	ptx     string // version
	in, out int    // words of a thread
	shared  int    // bytes
	tensor  bool
	body    string
}

func (k kernel) text() string {
	var s strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&s, format+"\n", args...) }
	tensor := ""
	if k.tensor {
		tensor = ", .param .align 64 .b8 tensor[128]"
	}
	p(".version %s\n.target %s\n.address_size 64", k.ptx, k.target)
	p(".visible .entry golden(.param .u64 in, .param .u64 out%s)\n{", tensor)
	p(".reg .b32 %%i<%d>;\n.reg .b32 %%o<%d>;", k.in, k.out)
	p(".reg .b16 %%h<4>;\n.reg .b32 %%t<4>, %%thread, %%smem, %%index;\n.reg .b64 %%d<4>, %%source, %%to;\n.reg .pred %%p<4>;")
	if k.shared > 0 {
		p(".shared .align 1024 .b8 memory[%d];\nmov.u32 %%smem, memory;", k.shared)
	}
	p("mov.u32 %%thread, %%tid.x;\nmov.u32 %%t0, %%ctaid.x;\nmov.u32 %%t1, %%ntid.x;\nmad.lo.u32 %%index, %%t0, %%t1, %%thread;")
	p("ld.param.u64 %%source, [in];\ncvta.to.global.u64 %%source, %%source;\nmul.wide.u32 %%d0, %%index, %d;\nadd.u64 %%source, %%source, %%d0;", 4*k.in)
	p("ld.param.u64 %%to, [out];\ncvta.to.global.u64 %%to, %%to;\nmul.wide.u32 %%d0, %%index, %d;\nadd.u64 %%to, %%to, %%d0;", 4*k.out)
	for i := range k.in {
		p("ld.global.b32 %%i%d, [%%source+%d];", i, 4*i)
	}
	p("%s", strings.TrimSpace(k.body))
	for i := range k.out {
		p("st.global.b32 [%%to+%d], %%o%d;", 4*i, i)
	}
	p("ret;\n}")
	return s.String()
}

// registers is a list for a vector operand: {%o0,%o1,…}.
func registers(prefix string, from, n int) string {
	r := make([]string, n)
	for i := range r {
		r[i] = fmt.Sprintf("%%%s%d", prefix, from+i)
	}
	return "{" + strings.Join(r, ",") + "}"
}
