package mutation

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"remote-client-server/cuda"
	"remote-client-server/cuda/emu"
	"remote-client-server/kernels"
	"remote-client-server/kernels/clang"
	"remote-client-server/kernels/kerneltest"
)

// mutant is one planted bug.
type mutant struct {
	bug    string
	kernel string
	target kernels.Target
	file   string // of the sources; empty for an edit of the kernel's PTX
	old    string // in a source the exact text, in PTX a regular expression
	nth    int    // of the places that match, from 0
	new    string // in PTX with $1 and so on for what the expression's groups matched
}

// enough is the share of planted bugs that the cases must notice.
const enough = 0.95

// instructions bounds how long a warp may run: what a mutant makes endless ends there, and no case comes near.
const instructions = 1 << 20

func TestCasesNoticePlantedBugs(t *testing.T) {
	if testing.Short() {
		t.Skip("short: planting and looking for all bugs takes a minute")
	}
	if raced {
		t.Skip("too slow under the race detector; make emulated runs it")
	}
	compiles := clang.Find()
	if errors.Is(compiles, clang.ErrVersion) { // whose text differs, and whose bugs are as good
		compiles = nil
	}
	if compiles != nil && os.Getenv("CI") != "" {
		t.Fatal(compiles)
	}
	var mu sync.Mutex
	rows := make([]string, len(mutants))
	noticed, planted := 0, 0
	plans := cheapFirst(t)
	t.Run("bugs", func(t *testing.T) {
		for i, m := range mutants {
			if m.file != "" && compiles != nil {
				rows[i] = row(m, "not planted: "+compiles.Error())
				continue
			}
			t.Run(m.kernel+"/"+m.bug, func(t *testing.T) {
				t.Parallel()
				ptx, err := m.plant()
				if err != nil {
					t.Fatal(err)
				}
				how, err := notice(m, ptx, plans[m.target][m.kernel])
				if err != nil {
					t.Fatal(err)
				}
				mu.Lock()
				defer mu.Unlock()
				planted++
				if how != "" {
					noticed++
				} else {
					how = "NOT NOTICED"
				}
				rows[i] = row(m, how)
			})
		}
	})
	t.Logf("%d of %d planted bugs are noticed:\n%s", noticed, planted, strings.Join(rows, "\n"))
	if t.Failed() {
		return
	}
	if float64(noticed) < enough*float64(planted) {
		t.Errorf("%d of %d planted bugs are noticed, at least %.0f %% must be", noticed, planted, 100*enough)
	}
}

func row(m mutant, how string) string {
	where := "PTX"
	if m.file != "" {
		where = m.file
	}
	return fmt.Sprintf("  %-22s %-7s %-12s %-56s %s", m.kernel, m.target, where, m.bug, how)
}

// plan is the order of a kernel's cases.
type plan []kerneltest.Case

// cheapFirst runs the kernels as they are, which must be right, and orders their cases by what they cost.
func cheapFirst(t *testing.T) map[kernels.Target]map[string]plan {
	plans := map[kernels.Target]map[string]plan{}
	var mu sync.Mutex
	t.Run("unchanged", func(t *testing.T) {
		for _, m := range mutants {
			if plans[m.target] == nil {
				plans[m.target] = map[string]plan{}
			}
			if _, ok := plans[m.target][m.kernel]; ok {
				continue
			}
			plans[m.target][m.kernel] = nil
			t.Run(string(m.target)+"/"+m.kernel, func(t *testing.T) {
				t.Parallel()
				k := kernels.Find(m.kernel)
				ptx, err := committed(k, m.target)
				if err != nil {
					t.Fatal(err)
				}
				type priced struct {
					kerneltest.Case
					warps int64
				}
				var all []priced
				for _, c := range kerneltest.Cases() {
					if c.Kernel != m.kernel {
						continue
					}
					var warps int64
					if err := run(c, m.target, ptx, func(s *emu.Stats) { warps += s.Warp }); err != nil {
						t.Fatalf("%s: %v", c.Name, err)
					}
					all = append(all, priced{c, warps})
				}
				slices.SortStableFunc(all, func(a, b priced) int { return cmp.Compare(a.warps, b.warps) })
				var p plan
				for _, c := range all {
					p = append(p, c.Case)
				}
				mu.Lock()
				defer mu.Unlock()
				plans[m.target][m.kernel] = p
			})
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	return plans
}

// run is one case on a device of its own.
func run(c kerneltest.Case, target kernels.Target, ptx []byte, count func(*emu.Stats)) error {
	g, err := emu.Open(string(target), emu.Options{Workers: 1, Budget: instructions, OnLaunch: func(_ string, _ [3]uint32, s *emu.Stats) { count(s) }})
	if err != nil {
		return err
	}
	defer g.Close()
	var loaded cuda.Module
	m := &kerneltest.Machine{Context: g, Target: target, Rand: rand.New(rand.NewPCG(7, 7)), Load: func(*kernels.Kernel) (cuda.Module, error) {
		if loaded != 0 {
			return loaded, nil
		}
		m, _, err := g.Load(ptx)
		loaded = m
		return m, err
	}}
	return c.Run(m)
}

// notice is how the cases notice a mutant, empty if they do not. An error is a mutant that cannot be run.
func notice(m mutant, ptx []byte, cases plan) (how string, err error) {
	for _, c := range cases {
		err := run(c, m.target, ptx, func(*emu.Stats) {})
		var fault *emu.Fault
		var refused *cuda.Error
		switch {
		case err == nil:
		case errors.As(err, &fault):
			if fault.Kind == emu.Internal {
				return "", err
			}
			return fault.Kind.String(), nil
		case errors.As(err, &refused):
			return "", fmt.Errorf("the mutant does not run: %w", err)
		default:
			return "wrong result", nil
		}
	}
	return "", nil
}

// committed is the PTX of a kernel's module for a target.
func committed(k *kernels.Kernel, target kernels.Target) ([]byte, error) {
	capability := map[kernels.Target]int{kernels.SM75: 75, kernels.SM80: 80, kernels.SM90A: 90}[target]
	for _, i := range kernels.Images(k.Module, capability) {
		if !i.Cubin && i.Target == target {
			return i.Data, nil
		}
	}
	return nil, fmt.Errorf("module %s has no PTX for %s", k.Module, target)
}

// plant makes the PTX of a mutant.
func (m *mutant) plant() ([]byte, error) {
	k := kernels.Find(m.kernel)
	if m.file != "" {
		return m.plantSource(k)
	}
	text, err := committed(k, m.target)
	if err != nil {
		return nil, err
	}
	start := bytes.Index(text, []byte(".visible .entry "+m.kernel+"("))
	if start < 0 {
		return nil, fmt.Errorf("no entry %s", m.kernel)
	}
	end := len(text)
	if next := bytes.Index(text[start+1:], []byte(".visible .entry ")); next >= 0 {
		end = start + 1 + next
	}
	pattern, err := regexp.Compile(m.old)
	if err != nil {
		return nil, err
	}
	places := pattern.FindAllSubmatchIndex(text[start:end], -1)
	if m.nth >= len(places) {
		return nil, fmt.Errorf("%q is %d times in the PTX of %s, and number %d is to be changed", m.old, len(places), m.kernel, m.nth)
	}
	at := places[m.nth]
	changed := pattern.Expand(nil, []byte(m.new), text[start:end], at)
	return slices.Concat(text[:start+at[0]], changed, text[start+at[1]:]), nil
}

// plantSource compiles the changed sources.
func (m *mutant) plantSource(k *kernels.Kernel) ([]byte, error) {
	from := filepath.Join("..", "src")
	names, err := os.ReadDir(from)
	if err != nil {
		return nil, err
	}
	to, err := os.MkdirTemp("", "mutant")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(to)
	for _, n := range names {
		b, err := os.ReadFile(filepath.Join(from, n.Name()))
		if err != nil {
			return nil, err
		}
		text := string(b)
		if n.Name() == m.file {
			if text, err = m.replace(text); err != nil {
				return nil, err
			}
		}
		if n.Name() == k.Module+".cu" {
			text = alone(text, m.kernel)
		}
		if err := os.WriteFile(filepath.Join(to, n.Name()), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	for _, b := range kernels.Builds() {
		if b.Module == k.Module && b.Target == m.target {
			return clang.Compile(to, b)
		}
	}
	return nil, fmt.Errorf("module %s is not built for %s", k.Module, m.target)
}

func (m *mutant) replace(text string) (string, error) {
	at := 0
	for i := 0; ; i++ {
		next := strings.Index(text[at:], m.old)
		if next < 0 {
			return "", fmt.Errorf("%s: %q is there %d times, and number %d is to be changed", m.file, m.old, i, m.nth)
		}
		at += next
		if i == m.nth {
			return text[:at] + m.new + text[at+len(m.old):], nil
		}
		at += len(m.old)
	}
}

// alone drops the one-line definitions of kernels of another type than that one's. Cases compare kernels of one type.
func alone(text, kernel string) string {
	parts := strings.SplitN(kernel, "_", 3)
	if len(parts) < 2 {
		return text
	}
	own := parts[0] + "_" + parts[1]
	var b strings.Builder
	for line := range strings.Lines(text) {
		defines := strings.HasPrefix(line, "KERNEL ") && strings.HasSuffix(line, "}\n") || strings.HasPrefix(line, "PRODUCT(")
		if defines && !strings.Contains(line, own) {
			line = "\n"
		}
		b.WriteString(line)
	}
	return b.String()
}
