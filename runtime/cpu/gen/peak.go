package main

import (
	"fmt"
	"strings"
)

// peakKernels are loops on registers alone, for the throughput of an instruction, and one that reads memory.
func peakKernels(a *assembler) {
	loops := map[string]func(i int) string{}
	acc := 24
	switch a.isa {
	case avx512:
		loops["FMA"] = func(i int) string { return fmt.Sprintf("VFMADD231PS Z30, Z31, Z%d", i) }
		loops["BF16"] = func(i int) string { return dpbf16(30, 31, i) }
		loops["VNNI"] = func(i int) string { return fmt.Sprintf("VPDPBUSD Z30, Z31, Z%d", i) }
	case avx2:
		acc = 12
		loops["FMA"] = func(i int) string { return fmt.Sprintf("VFMADD231PS Y14, Y15, Y%d", i) }
	case neon:
		loops["FMA"] = func(i int) string {
			return fmt.Sprintf("WORD $0x%08x // FMLA", 0x4f801000|31<<16|30<<5|i)
		}
	}
	for _, name := range []string{"FMA", "BF16", "VNNI"} {
		body := loops[name]
		if body == nil {
			continue
		}
		a.begin(a.isa.String()+"Peak"+name, false, "n i")
		for i := range acc {
			a.zero(i)
		}
		for i := range 2 {
			a.zero(map[isa]int{avx512: 30, avx2: 14, neon: 30}[a.isa] + i)
		}
		a.repeat(a.reg("n"), func() {
			for range 48 / acc {
				for i := range acc {
					a.p("%s", body(i))
				}
			}
		})
		a.end("peak" + name)
	}
	a.begin(a.isa.String()+"Read", false, "src p", "blocks i")
	for i := range 4 {
		a.zero(i)
	}
	lanes := a.isa.lanes() * 4
	a.repeat(a.reg("blocks"), func() {
		for off := 0; off < 512; off += lanes {
			i := off / lanes % 4
			switch a.isa {
			case avx512:
				a.p("VPADDD %d(%s), Z%d, Z%d", off, a.reg("src"), i, i)
			case avx2:
				a.p("VPADDD %d(%s), Y%d, Y%d", off, a.reg("src"), i, i)
			case neon:
				a.load(4, a.reg("src"), off)
			}
		}
		a.advance(a.reg("src"), 512)
	})
	a.end("read")
}

// tables is the Go value that lists the functions by role.
func (a *assembler) tables(isa string) string {
	var t strings.Builder
	fmt.Fprintf(&t, "func %sKernels() kernels {\n\treturn kernels{\n", isa)
	for _, role := range []struct{ table, field string }{
		{"gemm_f32", "f32"}, {"gemm_bf16", "bf16"}, {"gemm_f16", "f16"}, {"gemm_dot", "dot"},
		{"gemm_q8", "q8"}, {"gemm_q4", "q4"},
	} {
		if names := a.names[role.table]; names != nil {
			kind := "[]microKernel"
			if strings.HasPrefix(role.field, "q") {
				kind = "[]quantKernel"
			}
			fmt.Fprintf(&t, "\t\t%s: %s{%s},\n", role.field, kind, strings.Join(names, ", "))
		}
	}
	for _, role := range []string{"act", "gate"} {
		fmt.Fprintf(&t, "\t\t%s: [8]actKernel{%s},\n", role, strings.Join(a.names[role], ", "))
	}
	for _, role := range []string{"addBias", "add", "scale", "scaleRows", "cap", "sum", "squares", "affine", "softmax", "softmaxBF16", "rotate", "largest", "classes", "divide", "uniforms", "prefetch",
		"transpose", "dequantize8", "dequantize4", "quantizeRow", "roundBF16", "pairRows", "peakFMA", "peakBF16", "peakVNNI", "read"} {
		if names := a.names[role]; names != nil {
			fmt.Fprintf(&t, "\t\t%s: %s,\n", role, names[0])
		}
	}
	t.WriteString("\t}\n}\n\n")
	return t.String()
}
