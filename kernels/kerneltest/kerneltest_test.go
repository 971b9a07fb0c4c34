package kerneltest

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"testing"

	"remote-client-server/cuda"
	"remote-client-server/cuda/emu"
	"remote-client-server/kernels"
)

var targets = []kernels.Target{kernels.SM75, kernels.SM80, kernels.SM90A}

// capability is of the GPU that a target is named after.
func capability(t kernels.Target) int {
	return map[kernels.Target]int{kernels.SM75: 75, kernels.SM80: 80, kernels.SM90A: 90}[t]
}

// has reports whether a GPU has a kernel: Hopper those of sm_80 too.
func has(t kernels.Target, k *kernels.Kernel) bool {
	return k.On(t) || t == kernels.SM90A && k.On(kernels.SM80)
}

// modules are those of a context, loaded as a program does: the first image of each that it takes.
type modules struct {
	context    cuda.Context
	capability int
	loaded     map[string]cuda.Module
}

func newModules(c cuda.Context, capability int) *modules {
	return &modules{c, capability, map[string]cuda.Module{}}
}

func (m *modules) load(k *kernels.Kernel) (cuda.Module, error) {
	if loaded, ok := m.loaded[k.Module]; ok {
		return loaded, nil
	}
	err := fmt.Errorf("no image of module %s", k.Module)
	for _, image := range kernels.Images(k.Module, m.capability) {
		loaded, _, e := m.context.Load(image.Data)
		if e == nil {
			m.loaded[k.Module] = loaded
			return loaded, nil
		}
		err = e
	}
	return 0, err
}

func (m *modules) unload() error {
	var errs []error
	for _, loaded := range m.loaded {
		errs = append(errs, m.context.Unload(loaded))
	}
	return errors.Join(errs...)
}

// random is a case's own source of numbers.
func random(c *Case) *rand.Rand {
	h := fnv.New64a()
	fmt.Fprint(h, c.Kernel, c.Name)
	return rand.New(rand.NewPCG(h.Sum64(), 1))
}

// profiles keeps each kernel's launch with the most tensor work or, without any, the most memory moved, by target and kernel.
type profiles struct {
	mu      sync.Mutex
	largest map[string]*emu.Stats
}

func (p *profiles) add(target kernels.Target, kernel string, s *emu.Stats) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := string(target) + "/" + kernel
	old := p.largest[key]
	if old == nil || cmp.Or(cmp.Compare(s.Flops, old.Flops), cmp.Compare(s.Bytes, old.Bytes), cmp.Compare(s.Warp, old.Warp)) > 0 {
		p.largest[key] = s
	}
}

func TestKernels(t *testing.T) {
	if raced {
		t.Skip("too slow under the race detector, which has the emulator's own tests; make emulated runs it")
	}
	p := &profiles{largest: map[string]*emu.Stats{}}
	t.Run("cases", func(t *testing.T) {
		for _, target := range targets {
			for _, k := range kernels.All() {
				if has(target, k) {
					t.Run(string(target)+"/"+k.Name, func(t *testing.T) {
						t.Parallel()
						runCases(t, target, k, p)
					})
				}
			}
		}
	})
	// Of a part of the cases, the largest launch may be another one than the budgets are for.
	if !t.Failed() && flag.Lookup("test.run").Value.String() == "" {
		checkBudgets(t, p)
	}
}

func runCases(t *testing.T, target kernels.Target, k *kernels.Kernel, p *profiles) {
	c, err := emu.Open(string(target), emu.Options{Profile: true, Workers: 1, OnLaunch: func(kernel string, _ [3]uint32, s *emu.Stats) { p.add(target, kernel, s) }})
	if err != nil {
		t.Fatal(err)
	}
	loaded := newModules(c, capability(target))
	defer func() {
		if t.Failed() {
			return // what the case that failed has taken was not given back
		}
		if err := errors.Join(loaded.unload(), c.Close()); err != nil {
			t.Error(err)
		}
	}()
	m := &Machine{Context: c, Target: target, Load: loaded.load}
	n := 0
	for _, c := range Cases() {
		if c.Kernel != k.Name {
			continue
		}
		if n++; !k.On(target) && n%8 != 1 { // Hopper executes the text of sm_80, whose cases all run there
			continue
		}
		ok := t.Run(c.Name, func(t *testing.T) {
			m.Rand = random(&c)
			if err := c.Run(m); err != nil {
				t.Fatal(err)
			}
			if err := m.Reset(); err != nil {
				t.Fatal(err)
			}
		})
		if !ok && m.Context.Err() != nil {
			return // the context is lost, and every case after it would say so
		}
		m.taken = nil
	}
	if n == 0 {
		t.Error("the kernel has no case")
	}
}
