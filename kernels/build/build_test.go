package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"remote-client-server/kernels"
	"remote-client-server/kernels/clang"
)

// without ends a test on a machine that lacks a tool, as a failure under CI; but a distribution may replace a version by
// the next one at any time.
func without(t *testing.T, err error) {
	t.Helper()
	if raced {
		t.Skip("what compilers say does not depend on the race detector: make emulated runs this without it")
	}
	if err == nil {
		return
	}
	if os.Getenv("CI") != "" && !errors.Is(err, clang.ErrVersion) {
		t.Fatal(err)
	}
	t.Skip(err)
}

// committedPTX is what is in the folder, by paths.
func committedPTX(t *testing.T) map[string][]byte {
	ptx := map[string][]byte{}
	for _, b := range kernels.Builds() {
		path := kernels.PTXPath(b.Module, b.Target)
		text, err := os.ReadFile(filepath.Join("..", path))
		if err != nil {
			t.Fatal(err)
		}
		ptx[path] = text
	}
	return ptx
}

func TestThePTXIsWhatTheSourcesGive(t *testing.T) {
	without(t, clang.Find())
	ptx, err := compileAll(filepath.Join("..", "src"), modules())
	if err != nil {
		t.Fatal(err)
	}
	for path, text := range committedPTX(t) {
		if string(ptx[path]) != string(text) {
			t.Errorf("%s is not what the sources give: make ptx", path)
		}
	}
}

// flights are the bytes of global loads that the sources mean to have under way together, by the beginning of kernels'
// names; ptxas, if it sees a reason to, puts loads next to their uses again. The first that fits a name counts.
var flights = []struct {
	kernels string
	bytes   int
}{
	{"gemv_f16_8", 192}, {"gemv_bf16_8", 192}, {"gemv_", 112},
	{"norm_f32", 128}, {"norm_", 64}, {"embed_f32", 128}, {"embed_", 64},
	{"pool_f32", 128}, {"pool_", 64}, {"gather_", 32},
}

// TestWhatPtxasSays is the report: every kernel is accepted for every GPU, without spills, stack or complaints, with the
// registers that its bounds promise; the cubins and the README's table are those of the PTX.
func TestWhatPtxasSays(t *testing.T) {
	tools, err := findTools()
	without(t, err)
	ptx := committedPTX(t)
	cubins, made, err := tools.assembleAll(ptx, modules())
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]map[kernels.Target]bool{}
	for _, a := range made {
		for _, p := range a.Problems() {
			t.Errorf("%s on %s: %s", a.Kernel.Name, a.GPU, p)
		}
		if seen[a.Kernel.Name] == nil {
			seen[a.Kernel.Name] = map[kernels.Target]bool{}
		}
		seen[a.Kernel.Name][a.GPU] = true
		for _, f := range flights {
			if strings.HasPrefix(a.Kernel.Name, f.kernels) {
				if a.Code != nil && a.Code.Flight < f.bytes {
					t.Errorf("%s on %s: %d bytes of loads under way, the source means %d", a.Kernel.Name, a.GPU, a.Code.Flight, f.bytes)
				}
				break
			}
		}
	}
	for _, k := range kernels.All() {
		for _, on := range k.Targets {
			if !seen[k.Name][on] {
				t.Errorf("%s was not assembled for %s", k.Name, on)
			}
		}
	}
	if err := compare("..", ptx, cubins, true); err != nil {
		t.Error(err)
	}
	if tools.nvdisasm == "" {
		t.Log("no nvdisasm: the table is not compared")
	} else if err := compareTable("..", table(made)); err != nil {
		t.Error(err)
	}
}

func TestReadingPtxas(t *testing.T) {
	k := kernels.All()[0].Name
	const head = "ptxas info    : 0 bytes gmem\nptxas info    : Compiling entry function 'KERNEL' for 'sm_80'\nptxas info    : Function properties for KERNEL\n"
	for _, c := range []struct {
		name, text string
		problem    string // a part of it; empty for none
	}{
		{"a good one", head + "    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\nptxas info    : Used 40 registers, used 1 barriers, 32 bytes smem, 440 bytes cmem[0]\n", ""},
		{"spills", head + "    16 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads\nptxas info    : Used 40 registers\n", "20 bytes of spills"},
		{"stack alone", head + "    16 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\nptxas info    : Used 40 registers\n", "16 bytes of stack"},
		{"too many registers for its bounds", head + "    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\nptxas info    : Used 255 registers\n", "blocks fit a multiprocessor"},
		{"nothing said", head, "ptxas says nothing"},
		{"serialised products", head + "    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\nptxas info    : Used 40 registers\nptxas info    : (C7514) Potential Performance Loss: wgmma.mma_async instructions are serialized due to ... in function 'KERNEL'\n", "serialized"},
		{"a bound ignored", "ptxas info    : (C7508) Setmaxnreg ignored; unable to determine register count at entry\n" + head + "    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\nptxas info    : Used 40 registers\n", "Setmaxnreg ignored"},
	} {
		t.Run(c.name, func(t *testing.T) {
			made, err := read(strings.ReplaceAll(c.text, "KERNEL", k), "sm_80")
			if err != nil || len(made) != 1 {
				t.Fatalf("%d kernels, %v", len(made), err)
			}
			got := strings.Join(made[0].Problems(), "; ")
			if c.problem == "" && got != "" || !strings.Contains(got, c.problem) {
				t.Errorf("%q, want %q", got, c.problem)
			}
		})
	}
	if _, err := read("ptxas info    : Compiling entry function 'nobody' for 'sm_80'\n", "sm_80"); err == nil {
		t.Error("a kernel that is not in the launch table was taken")
	}
}

// The expected numbers are those of NVIDIA's occupancy calculator.
func TestBlocksOfAMultiprocessor(t *testing.T) {
	for _, c := range []struct {
		gpu                        kernels.Target
		threads, registers, shared int
		want                       int
	}{
		{"sm_80", 256, 32, 0, 8},
		{"sm_80", 256, 128, 0, 2},
		{"sm_80", 128, 168, 48 << 10, 3},
		{"sm_80", 1024, 64, 0, 1},
		{"sm_86", 256, 32, 0, 6},
		{"sm_75", 256, 32, 32 << 10, 2},
		{"sm_90a", 384, 168, 200 << 10, 1},
		{"sm_90a", 32, 16, 0, 32},
	} {
		a := &Assembled{Kernel: &kernels.Kernel{Threads: c.threads}, GPU: c.gpu, Registers: c.registers, Shared: c.shared}
		if got := a.Blocks(); got != c.want {
			t.Errorf("%s, %d threads, %d registers, %d bytes: %d blocks, want %d", c.gpu, c.threads, c.registers, c.shared, got, c.want)
		}
	}
}

func TestJudgingCode(t *testing.T) {
	body := []instruction{
		{"LDG.E.128", "R4, [R2.64]"},
		{"LDG.E.128", "R8, [R2.64+0x10]"},
		{"LDG.E.64", "R12, [R2.64+0x20]"},
		{"HMMA.16816.F32", "R20, R4, R8, R20"},
		{"FADD", "R0, R0, R12"},
		{"ISETP.GE.AND", "P0, PT, R1, R0, PT"},
		{"BRA", "`(.L_x_1)"},
		{"EXIT", ""},
		{"BRA", "`(.L_x_2)"},
	}
	c := judge(body, map[string]int{".L_x_1": 1, ".L_x_2": 8})
	if want := (Code{Instructions: 9, Loop: 6, Tensor: 1, Flight: 24}); *c != want {
		t.Errorf("%+v, want %+v", *c, want)
	}
	if c := judge(body, map[string]int{".L_x_1": 7, ".L_x_2": 8}); c.Flight != 40 || c.Loop != 0 {
		t.Errorf("without the loop: %+v", *c)
	}
}

const listing = "\t.section\t.text.k,\"ax\",@progbits\n.text.k:\n        /*0000*/                   MOV R1, c[0x0][0x28] ;\n.L_x_0:\n" +
	"        /*0010*/                   LDG.E.128 R4, [R2.64] ;\n        /*0020*/               @P0 BRA `(.L_x_0) ;\n        /*0030*/                   NOP ;\n"

func TestReadingADisassembly(t *testing.T) {
	got := codeOf(listing)
	if want := (Code{Instructions: 3, Loop: 2, Flight: 16}); len(got) != 1 || got["k"] == nil || *got["k"] != want {
		t.Errorf("%+v", got["k"])
	}
}

func FuzzToolsOutput(f *testing.F) {
	f.Add(listing)
	f.Add("ptxas info    : Compiling entry function 'angles' for 'sm_80'\n    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\nptxas info    : Used 99999999999999999999 registers, 1 bytes smem\n")
	f.Fuzz(func(t *testing.T, text string) {
		codeOf(text)
		made, err := read(text, "sm_80")
		if err != nil {
			return
		}
		for _, a := range made {
			a.Problems()
		}
	})
}

func TestTheTablesPlace(t *testing.T) {
	readme := []byte("before\n" + tableBegin + "old\n" + tableEnd + "after\n")
	got, err := withTable(readme, "| new |\n")
	if err != nil || string(got) != "before\n"+tableBegin+"\n| new |\n\n"+tableEnd+"after\n" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := withTable([]byte("no marks"), ""); err == nil {
		t.Error("a file without marks was taken")
	}
}

func TestAMissingToolIsItsOwnError(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if err := clang.Find(); !errors.Is(err, clang.ErrMissing) || !strings.Contains(err.Error(), "apt-get install clang-22") {
		t.Errorf("%v", err)
	}
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	if _, err := findTools(); !errors.Is(err, errNoPtxas) || !strings.Contains(err.Error(), "-install") {
		t.Errorf("%v", err)
	}
}
