package kernels

import (
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unsafe"
)

// entry is what PTX text says of a kernel.
type entry struct {
	name            string
	params          []int // bytes
	threads, blocks int
	waits           bool // for the kernel before it
	early           bool // it touches memory before it has waited
}

var (
	entryHead = regexp.MustCompile(`(?s)\.visible \.entry (\w+)\(([^)]*)\)([^{]*)\{`)
	paramSize = regexp.MustCompile(`\.param \.align \d+ \.b8 \w+\[(\d+)\]`)
	touches   = regexp.MustCompile(`(ld|st|red|atom)\.\S*global|cp\.async|prefetch`)
	bound     = regexp.MustCompile(`\.(maxntid|minnctapersm) (\d+)`)
)

func entriesOf(ptx []byte) []entry {
	var all []entry
	heads := entryHead.FindAllSubmatchIndex(ptx, -1)
	for i, m := range entryHead.FindAllSubmatch(ptx, -1) {
		end := len(ptx)
		if i+1 < len(heads) {
			end = heads[i+1][0]
		}
		e := entry{name: string(m[1])}
		before, _, waits := strings.Cut(string(ptx[heads[i][1]:end]), "griddepcontrol.wait")
		e.waits, e.early = waits, waits && touches.MatchString(before)
		for _, p := range paramSize.FindAllSubmatch(m[2], -1) {
			n, _ := strconv.Atoi(string(p[1]))
			e.params = append(e.params, n)
		}
		for _, b := range bound.FindAllSubmatch(m[3], -1) {
			n, _ := strconv.Atoi(string(b[2]))
			if string(b[1]) == "maxntid" {
				e.threads = n
			} else {
				e.blocks = n
			}
		}
		all = append(all, e)
	}
	return all
}

// readPTX is the committed text of a build.
func readPTX(t *testing.T, b Build) []byte {
	text, err := files.ReadFile(PTXPath(b.Module, b.Target))
	if err != nil {
		t.Errorf("%s is built for %s, and is not there: make ptx", b.Module, b.Target)
	}
	return text
}

func TestTheTableIsThePTXs(t *testing.T) {
	for _, b := range Builds() {
		t.Run(string(b.Target)+"/"+b.Module, func(t *testing.T) {
			text := readPTX(t, b)
			if head := fmt.Sprintf(".version %d.%d\n.target %s\n", b.PTX/10, b.PTX%10, b.Target); !strings.Contains(string(text), head) {
				t.Errorf("the text does not begin with %q", head)
			}
			got := map[string]entry{}
			for _, e := range entriesOf(text) {
				got[e.name] = e
			}
			for _, k := range All() {
				if k.Module != b.Module || !k.On(b.Target) {
					continue
				}
				e, ok := got[k.Name]
				delete(got, k.Name)
				want := []int{k.Args}
				for range k.Maps {
					want = append(want, 128)
				}
				switch {
				case !ok:
					t.Errorf("%s is not in the text", k.Name)
				case !slices.Equal(e.params, want):
					t.Errorf("%s has parameters of %v bytes, the table says %v", k.Name, e.params, want)
				case e.threads != k.Threads:
					t.Errorf("%s is bounded to %d threads, the table says %d", k.Name, e.threads, k.Threads)
				case e.waits != k.Dependent:
					t.Errorf("%s waits for the kernel before it: %v, the table says %v", k.Name, e.waits, k.Dependent)
				case e.early:
					t.Errorf("%s touches memory before it has waited for the kernel before it", k.Name)
				case e.blocks != k.Blocks:
					t.Errorf("%s is bounded to %d blocks a multiprocessor, the table says %d", k.Name, e.blocks, k.Blocks)
				}
			}
			for name := range got {
				t.Errorf("%s is not in the table", name)
			}
		})
	}
}

func TestTheTablesRows(t *testing.T) {
	structs := []int{
		int(unsafe.Sizeof(Gemm{})), int(unsafe.Sizeof(Norm{})), int(unsafe.Sizeof(Embed{})), int(unsafe.Sizeof(Gather{})), int(unsafe.Sizeof(Pool{})),
		int(unsafe.Sizeof(Angles{})), int(unsafe.Sizeof(Rotate{})), int(unsafe.Sizeof(Convert{})), int(unsafe.Sizeof(Attention{})), int(unsafe.Sizeof(Sample{})), int(unsafe.Sizeof(CopyBlocks{})),
		int(unsafe.Sizeof(Append{})),
	}
	seen := map[string]bool{}
	for _, k := range All() {
		if seen[k.Name] {
			t.Errorf("%s: two rows", k.Name)
		}
		seen[k.Name] = true
		if Find(k.Name) != k {
			t.Errorf("%s: Find gives another row", k.Name)
		}
		if !slices.Contains(structs, k.Args) {
			t.Errorf("%s: no struct has %d bytes", k.Name, k.Args)
		}
		if k.Threads < 32 || k.Threads > 1024 || k.Threads%32 != 0 || k.Blocks < 1 || k.Shared < 0 || k.Maps < 0 || len(k.Targets) == 0 {
			t.Errorf("%+v", *k)
		}
		for _, on := range k.Targets {
			limit := map[Target]int{SM75: 64 << 10, SM80: 99 << 10, SM90A: 227 << 10}[on] // sm_80 code also runs on sm_86
			if k.Shared > limit {
				t.Errorf("%s: %d bytes of shared memory, %s has %d", k.Name, k.Shared, on, limit)
			}
			if on == SM75 && strings.Contains(k.Name, "bf16") && k.Module != "rows" {
				t.Errorf("%s: %s has no bfloat16", k.Name, on)
			}
		}
	}
}

func TestImagesInOrder(t *testing.T) {
	both, hopper := "", ""
	for _, b := range Builds() {
		if b.Target == SM75 && both == "" {
			both = b.Module
		}
		if b.Target == SM90A {
			hopper = b.Module
		}
	}
	for _, c := range []struct {
		module     string
		capability int
		want       string
	}{
		{both, 70, ""},
		{both, 75, "cubin sm_75, ptx sm_75"},
		{both, 80, "cubin sm_80, ptx sm_80, ptx sm_75"},
		{both, 86, "cubin sm_86, cubin sm_80, ptx sm_80, ptx sm_75"},
		{both, 87, "cubin sm_86, cubin sm_80, ptx sm_80, ptx sm_75"},
		{both, 89, "cubin sm_86, cubin sm_80, ptx sm_80, ptx sm_75"},
		{both, 90, "cubin sm_90a, ptx sm_80, ptx sm_75"},
		{both, 100, "ptx sm_80, ptx sm_75"},
		{both, 120, "ptx sm_80, ptx sm_75"},
		{hopper, 89, ""},
		{hopper, 90, "cubin sm_90a, ptx sm_90a"},
		{hopper, 100, ""},
		{"nothing", 90, ""},
	} {
		if c.module == "" {
			continue
		}
		var got []string
		for _, i := range Images(c.module, c.capability) {
			form, magic := "ptx", "//"
			if i.Cubin {
				form, magic = "cubin", "\x7fELF"
			}
			if !strings.HasPrefix(string(i.Data), magic) {
				t.Errorf("%s for %d: the %s of %s begins with %q", c.module, c.capability, form, i.Target, i.Data[:4])
			}
			got = append(got, form+" "+string(i.Target))
		}
		if s := strings.Join(got, ", "); s != c.want {
			t.Errorf("%s on %d: %s; want %s", c.module, c.capability, s, c.want)
		}
	}
	for capability, want := range map[int]Target{75: SM75, 80: SM80, 86: SM80, 89: SM80, 90: SM90A, 100: SM80, 120: SM80} {
		if got := TargetOf(capability); got != want {
			t.Errorf("target of %d: %s, want %s", capability, got, want)
		}
	}
}

var absolutePath = regexp.MustCompile(`["\s]/\w+/\w+`)

func TestWhatIsEmbedded(t *testing.T) {
	want := map[string]bool{}
	for _, b := range Builds() {
		want[PTXPath(b.Module, b.Target)] = true
		for _, c := range CubinTargets {
			if slices.Contains(c.Of, b.Target) {
				want[CubinPath(b.Module, c.GPU)] = true
			}
		}
	}
	var bytes int64
	err := fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		bytes += info.Size()
		if !want[path] {
			t.Errorf("%s is of no build", path)
		}
		delete(want, path)
		text, err := files.ReadFile(path)
		if where := absolutePath.Find(text); where != nil && strings.HasSuffix(path, ".ptx") {
			t.Errorf("%s holds a path of the machine that made it: %s", path, where)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for path := range want {
		t.Errorf("%s is not there: make ptx", path)
	}
	if limit := int64(12 << 20); bytes > limit {
		t.Errorf("%d bytes of kernels in the binary, the limit is %d", bytes, limit)
	}
}
