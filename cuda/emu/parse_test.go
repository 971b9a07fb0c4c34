package emu

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseErrorsNameLineAndConstruct(t *testing.T) {
	head := ".version 7.0\n.target sm_80\n.address_size 64\n"
	for _, c := range []struct{ name, text, want string }{
		{"no version", ".target sm_80\n", ".version is missing"},
		{"no target", ".version 7.0\n", ".target is missing"},
		{"a target of another maker", ".version 7.0\n.target gfx90a\n", `line 2: .target: target "gfx90a"`},
		{"a comment without end", head + "/* x", "line 4: comment is not closed"},
		{"a body without end", head + ".entry k() {\n ret;\n", "function body is not closed"},
		{"an unknown directive", head + ".alias a, b;\n", `line 4: directive ".alias"`},
		{"two registers of one name", head + ".entry k() { .reg .b32 a; .reg .b32 a; }", `register "a" is declared twice`},
		{"a register count beyond reason", head + ".entry k() { .reg .b32 %r<9999999>; }", "register count"},
		{"a variable beyond reason", head + ".global .b8 x[99999999999];", "array length"},
		{"a broken float", head + ".entry k() { mov.f32 %f1, 0f123; }", `floating-point literal "0f123"`},
		{"two entries of one name", head + ".entry k() { ret; }\n.entry k() { ret; }", "entry k is defined twice"},
		{"scopes too deep", head + ".entry k() " + strings.Repeat("{", 100), "nested deeper"},
		{"operands too deep", head + ".entry k() { mov.b32 " + strings.Repeat("{", 100), "nested deeper"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse([]byte(c.text))
			var s *SyntaxError
			if !errors.As(err, &s) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestKernelErrorsNameLineAndInstruction(t *testing.T) {
	for _, c := range []struct{ name, target, body, want string }{
		{"an unknown instruction", "sm_80", "frobnicate.b32 %r1, %r2;", "line 17: instruction frobnicate.b32 is not known"},
		{"an unknown modifier", "sm_80", "add.q32 %r1, %r2, %r3;", "add.q32"},
		{"an undeclared register", "sm_80", "add.u32 %r1, %zz, 1;", `register "%zz" is not declared`},
		{"an undefined label", "sm_80", "bra NOWHERE;", `label "NOWHERE" is not defined`},
		{"a register of the wrong width", "sm_80", "add.u32 %r1, %d2, 1;", "wrong width"},
		{"too few operands", "sm_80", "add.u32 %r1, %r2;", "operands"},
		{"a guard that is no predicate", "sm_80", "@%r1 bra L; L:", "no predicate"},
		{"a call of nothing", "sm_80", "call f;", `call of "f"`},
		{"bf16 products on a T4", "sm_75", "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f0,%f1,%f2,%f3},{%r1,%r2,%r3,%r4},{%r5,%r6},{%f0,%f1,%f2,%f3};", "needs sm_80"},
		{"cp.async on a T4", "sm_75", "cp.async.wait_all;", "needs sm_80"},
		{"wgmma without the architecture's own set", "sm_90", "wgmma.fence.sync.aligned;", "needs sm_90a"},
		{"fp8 in an old PTX version", "sm_90", "cvt.rn.satfinite.e4m3x2.f32 %h1, %f1, %f2;", "needs PTX 8.1"},
		{"an accumulator too many", "sm_90a", "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%f0,%f1}, %d1, %d2, 1, 1, 1, 0, 0;", "wants 4 accumulators"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := Parse([]byte(text(c.target, c.body)))
			if err != nil {
				t.Fatal(err)
			}
			if _, err = m.Kernel("k"); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	m, _ := Parse([]byte(text("sm_80", "")))
	if _, err := m.Kernel("other"); err == nil || !strings.Contains(err.Error(), `no kernel "other"`) {
		t.Error(err)
	}
}

func TestLaunchesThatNoGPUWouldTake(t *testing.T) {
	for _, c := range []struct {
		name           string
		target, module string
		l              Launch
		kind           FaultKind
	}{
		{"newer code on an older GPU", "sm_75", "sm_80", Launch{Block: [3]int{32}}, NotOnTarget},
		{"sm_90a code on plain sm_90", "sm_90", "sm_90a", Launch{Block: [3]int{32}}, NotOnTarget},
		{"more shared memory than there is", "sm_80", "sm_80", Launch{Block: [3]int{32}, Shared: 200 << 10}, TooManyResources},
		{"a cluster before there were any", "sm_80", "sm_80", Launch{Grid: [3]int{2}, Block: [3]int{32}, Cluster: [3]int{2}}, NotOnTarget},
		{"a grid with a negative side", "sm_80", "sm_80", Launch{Grid: [3]int{-1}, Block: [3]int{32}}, BadLaunch},
		{"parameters of the wrong length", "sm_80", "sm_80", Launch{Block: [3]int{32}, Params: []byte{1}}, BadLaunch},
	} {
		d, k := newDevice(t, c.target), compile(t, c.module, "")
		if c.l.Params == nil {
			c.l.Params = make([]byte, k.ParamBytes())
		}
		if _, err := d.Run(context.Background(), k, c.l); !errors.Is(err, &Fault{Kind: c.kind}) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	d, k := newDevice(t, "sm_90a"), compile(t, "sm_80", "")
	if _, err := d.Run(context.Background(), k, Launch{Block: [3]int{32}, Params: make([]byte, k.ParamBytes())}); err != nil {
		t.Errorf("sm_80 code on sm_90a: %v", err)
	}
}

func TestMemoryCatchesTheHost(t *testing.T) {
	d := newDevice(t, "sm_80")
	a, b := d.alloc(100), d.alloc(100)
	if a%256 != 0 || a%512 == 0 || a == b {
		t.Errorf("addresses %#x and %#x", a, b)
	}
	kind := func(err error) FaultKind {
		var e *AccessError
		if !errors.As(err, &e) {
			return 0
		}
		return e.Kind
	}
	p := make([]byte, 50)
	if k := kind(d.Read(a, p)); k != Uninitialised {
		t.Errorf("reading what nobody wrote: %v", k)
	}
	if err := d.Write(a, p); err != nil {
		t.Error(err)
	}
	if err := d.Read(a, p); err != nil {
		t.Error(err)
	}
	if k := kind(d.Write(a+60, p)); k != OutOfBounds {
		t.Errorf("writing past the end: %v", k)
	}
	if err := d.Poison(a, 10); err != nil || kind(d.Read(a, p)) != Uninitialised {
		t.Error("poisoned bytes can be read")
	}
	if err := d.Copy(b+8, a+10, 40); err != nil || d.Read(b+8, p[:40]) != nil || kind(d.Read(b, p[:40])) != Uninitialised {
		t.Error("copying does not carry the initialised state along")
	}
	if err := d.Free(a); err != nil || kind(d.Read(a, p)) != UseAfterFree || kind(d.Free(a)) != UseAfterFree {
		t.Error("freed memory is not seen as freed")
	}
	if c := d.alloc(100); c == a {
		t.Error("an address was given out again at once")
	}
	var oom *OutOfMemory
	if _, err := d.Alloc(17 << 30); !errors.As(err, &oom) {
		t.Errorf("17 GiB of 16: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.ptx")
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b[:min(len(b), 3000)]))
	}
	for _, c := range faultCases {
		f.Add(text("sm_90a", c.good))
	}
	f.Add(text("sm_80", "{ .reg .pred p; T: .branchtargets A, A; A: brx.idx %r0, T; @p exit; mov.b64 {%r1,_}, %d1; }"))
	f.Fuzz(func(t *testing.T, s string) {
		m, err := Parse([]byte(s))
		if err != nil {
			return
		}
		for _, name := range m.KernelNames() {
			m.Kernel(name) // must not panic, whatever it finds
		}
	})
}
