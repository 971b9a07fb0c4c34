//go:build linux && (amd64 || arm64) && !nocuda

package driver

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ebitengine/purego"

	"remote-client-server/cuda"
)

// fake is a library of ../fake, compiled for this test, and its handles.
type fake struct {
	path  string
	reset func()
	clear func()
	fail  func(call string, nth, code int32)
	set   func(name string, value int64)
	text  func() string
	tids  func() int32
}

var (
	fakes     = map[string]*fake{}
	fakesLock sync.Mutex
	fakesDir  string
)

func TestMain(m *testing.M) {
	code := 1
	defer func() { os.Exit(code) }()
	// The caller's own settings are not those of the tests.
	os.Unsetenv("CUDA_VISIBLE_DEVICES")
	os.Unsetenv("CUDA_CACHE_PATH")
	os.Unsetenv("CUDA_CACHE_MAXSIZE")
	dir, err := os.MkdirTemp("", "cuda-fake")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	fakesDir = dir
	code = m.Run()
}

// compiled builds a fake once with the C compiler of this machine. Without one the test is skipped, under CI it fails.
func compiled(t testing.TB, source string, flags ...string) *fake {
	t.Helper()
	fakesLock.Lock()
	defer fakesLock.Unlock()
	key := source + strings.Join(flags, "")
	f := fakes[key]
	if f == nil {
		cc, err := exec.LookPath("cc")
		if err != nil {
			if os.Getenv("CI") != "" {
				t.Fatal("no C compiler (cc): the binding cannot be tested")
			}
			t.Skip("no C compiler (cc): the binding is NOT tested")
		}
		path := filepath.Join(fakesDir, strings.NewReplacer("=", "", ".c", "").Replace(key)+".so")
		args := append(flags, "-std=gnu11", "-shared", "-fPIC", "-O1", "-pthread", "-o", path, filepath.Join("..", "fake", source))
		if out, err := exec.Command(cc, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", source, err, out)
		}
		if f, err = control(path); err != nil {
			t.Fatal(err)
		}
		fakes[key] = f
	}
	f.reset()
	return f
}

// control opens a fake to drive it. The library that is opened by the same path later is the same.
func control(path string) (*fake, error) {
	h, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, err
	}
	f := &fake{path: path}
	for name, fn := range map[string]any{
		"fake_reset": &f.reset, "fake_clear": &f.clear, "fake_fail": &f.fail, "fake_set": &f.set, "fake_calls": &f.text, "fake_threads": &f.tids,
	} {
		purego.RegisterLibFunc(fn, h, name)
	}
	return f, nil
}

// calls are the recorded lines since the last time, without those of symbol resolution.
func (f *fake) calls() []string {
	var lines []string
	for line := range strings.Lines(f.text()) {
		if !strings.HasPrefix(line, "cuGetProcAddress") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	f.clear()
	return lines
}

// expect compares the lines recorded since the last time.
func (f *fake) expect(t testing.TB, want ...string) {
	t.Helper()
	got := f.calls()
	for i := range max(len(got), len(want)) {
		g, w := "nothing", "nothing"
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			t.Errorf("call %d\ngot  %s\nwant %s", i, g, w)
		}
	}
}

func (f *fake) options() Options { return Options{Libraries: []string{f.path}} }

// opened is a device of the fake driver, closed at the test's end unless the test did.
func opened(t testing.TB, flags ...string) (*fake, *cuda.Device) {
	t.Helper()
	f := compiled(t, "cuda.c", flags...)
	d, err := Open(1, f.options())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	f.clear()
	return f, d
}

// on runs f on the device's thread; an error fails the test.
func on(t testing.TB, d *cuda.Device, f func(c cuda.Context) error) {
	t.Helper()
	if err := d.Do(f); err != nil {
		t.Fatal(err)
	}
}
