package cuda

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// compiler is a Context whose cubin of a text is the text behind an ELF's magic number.
type compiler struct {
	Context
	properties Properties
	compiled   int
	loaded     []string
	refuse     map[string]error // by what is loaded
	cannot     bool
}

func newCompiler() *compiler {
	return &compiler{properties: Properties{Major: 8, DriverVersion: 12080, CompilesPTX: true}}
}

func (c *compiler) Properties() *Properties { return &c.properties }

func (c *compiler) Load(image []byte) (Module, string, error) {
	if err := c.refuse[string(image)]; err != nil {
		return 0, "", err
	}
	c.loaded = append(c.loaded, string(image))
	return Module(len(c.loaded)), "", nil
}

func (c *compiler) Compile(ptx []byte) ([]byte, string, error) {
	if c.cannot {
		return nil, "", NewError("compile", NotSupported, "", "")
	}
	if bytes.Contains(ptx, []byte("wrong")) {
		return nil, "a log", NewError("compile", InvalidPTX, "", "")
	}
	c.compiled++
	return append([]byte("\x7fELF"), ptx...), "a log", nil
}

func mustLoad(t *testing.T, k *Cache, c Context, ptx string) string {
	t.Helper()
	_, log, err := k.Load(c, []byte(ptx))
	if err != nil {
		t.Fatal(err)
	}
	return log
}

func cacheFiles(t *testing.T, folder string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestCacheHitsAndMisses(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "made", "when needed")
	k := &Cache{Folder: folder}
	c := newCompiler()
	if log := mustLoad(t, k, c, ".version 7.0"); log != "a log" {
		t.Errorf("the compiler's log: %q", log)
	}
	if log := mustLoad(t, k, c, ".version 7.0"); log != "" {
		t.Errorf("a log of a hit: %q", log)
	}
	later := &Cache{Folder: folder} // the next start
	mustLoad(t, later, c, ".version 7.0")
	if c.compiled != 1 || later.Uses() != (Uses{Hits: 1}) || k.Uses() != (Uses{Hits: 1, Misses: 1, Stored: 1}) {
		t.Errorf("compiled %d times, %+v, %+v", c.compiled, k.Uses(), later.Uses())
	}
	for i, got := range c.loaded {
		if got != "\x7fELF.version 7.0" {
			t.Errorf("load %d got %q", i, got)
		}
	}
	for name, change := range map[string]func(c *compiler) string{
		"another text":       func(*compiler) string { return ".version 7.1" },
		"another capability": func(c *compiler) string { c.properties.Minor = 6; return ".version 7.0" },
		"another driver":     func(c *compiler) string { c.properties.DriverVersion = 13000; return ".version 7.0" },
	} {
		c := newCompiler()
		mustLoad(t, k, c, change(c))
		if c.compiled != 1 {
			t.Errorf("%s was taken from the cache", name)
		}
	}
	if n := len(cacheFiles(t, folder)); n != 4 {
		t.Errorf("%d files", n)
	}
}

func TestCacheOfCorruptFiles(t *testing.T) {
	folder := t.TempDir()
	k := &Cache{Folder: folder}
	mustLoad(t, k, newCompiler(), "text")
	path := cacheFiles(t, folder)[0]
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(whole)
	flipped[len(flipped)-1] ^= 1
	old := bytes.Clone(whole)
	old[len(cacheMagic)-1]++
	for name, content := range map[string][]byte{
		"empty": {}, "cut in the header": whole[:20], "cut in the cubin": whole[:len(whole)-1], "the header alone": whole[:cacheHeader],
		"a flipped bit": flipped, "longer": append(bytes.Clone(whole), 0), "another format": old, "text": []byte(strings.Repeat("hello ", 50)),
	} {
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		c := newCompiler()
		mustLoad(t, k, c, "text")
		if c.compiled != 1 || c.loaded[0] != "\x7fELFtext" {
			t.Errorf("%s: compiled %d times, loaded %q", name, c.compiled, c.loaded)
		}
		if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, whole) {
			t.Errorf("%s: the file was not mended: %v", name, err)
		}
	}
	t.Run("a folder of that name", func(t *testing.T) {
		if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o755)); err != nil {
			t.Fatal(err)
		}
		c := newCompiler()
		mustLoad(t, &Cache{Folder: folder}, c, "text")
		if c.compiled != 1 {
			t.Errorf("compiled %d times", c.compiled)
		}
	})
}

func TestCacheOfACubinThatTheDriverRefuses(t *testing.T) {
	k := &Cache{Folder: t.TempDir()}
	mustLoad(t, k, newCompiler(), "text")
	c := newCompiler()
	c.refuse = map[string]error{"\x7fELFtext": NewError("load", NoBinaryForGPU, "", "")}
	if _, _, err := k.Load(c, []byte("text")); err == nil || c.compiled != 1 {
		t.Errorf("%v, compiled %d times", err, c.compiled)
	}
	mustLoad(t, k, newCompiler(), "text")
	for _, code := range []Code{OutOfMemory, IllegalAddress} { // no fault of the file
		c := newCompiler()
		c.refuse = map[string]error{"\x7fELFtext": NewError("load", code, "", "")}
		if _, _, err := k.Load(c, []byte("text")); err == nil || c.compiled != 0 {
			t.Errorf("%d: %v, compiled %d times", code, err, c.compiled)
		}
		if n := len(cacheFiles(t, k.Folder)); n != 1 {
			t.Errorf("%d: %d files", code, n)
		}
	}
}

func TestCacheThatIsBounded(t *testing.T) {
	k := &Cache{Folder: t.TempDir(), Limit: int64(3*(cacheHeader+4+1000) + 100)}
	text := func(i int) string { return strings.Repeat(string(rune('a'+i)), 1000) }
	age := func(i int, by time.Duration) {
		path := filepath.Join(k.Folder, k.key(newCompiler().Properties(), []byte(text(i)))+cacheExt)
		if err := os.Chtimes(path, time.Now(), time.Now().Add(-by)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		mustLoad(t, k, newCompiler(), text(i))
		age(i, time.Duration(10-i)*time.Minute)
	}
	mustLoad(t, k, newCompiler(), text(0)) // the oldest is used again
	part := filepath.Join(k.Folder, "new-1.cubin.part")
	if err := os.WriteFile(part, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(part, old, old); err != nil {
		t.Fatal(err)
	}
	mustLoad(t, k, newCompiler(), text(3))
	if n := len(cacheFiles(t, k.Folder)); n != 3 || k.Uses().Evicted != 1 {
		t.Errorf("%d files, %+v", n, k.Uses())
	}
	for i, want := range []int{0, 1, 0, 0} {
		c := newCompiler()
		path := filepath.Join(k.Folder, k.key(c.Properties(), []byte(text(i)))+cacheExt)
		if _, err := os.Stat(path); (err != nil) != (want == 1) {
			t.Errorf("text %d: %v", i, err)
		}
	}
	if _, err := os.Stat(part); err == nil {
		t.Error("what a killed process left is still there")
	}
}

func TestCacheInAFolderThatCannotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	folders := map[string]string{"below a file": filepath.Join(file, "cache")}
	if os.Geteuid() != 0 { // who is root may write everywhere
		folder := t.TempDir()
		if err := os.Chmod(folder, 0o500); err != nil {
			t.Fatal(err)
		}
		folders["read-only"] = folder
	} else if info, err := os.Stat("/proc/sys"); err == nil && info.IsDir() {
		folders["read-only"] = "/proc/sys"
	}
	for name, folder := range folders {
		var log bytes.Buffer
		k := &Cache{Folder: folder, Log: slog.New(slog.NewTextHandler(&log, nil))}
		c := newCompiler()
		for i := range 3 {
			mustLoad(t, k, c, fmt.Sprint("text ", i))
		}
		if c.compiled != 3 || strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), folder) {
			t.Errorf("%s: compiled %d times, log %q", name, c.compiled, log.String())
		}
	}
}

func TestCacheThatIsNotUsed(t *testing.T) {
	folder := t.TempDir()
	for name, use := range map[string]func() (Module, string, error){
		"no cache":    func() (Module, string, error) { return (*Cache)(nil).Load(newCompiler(), []byte("text")) },
		"no folder":   func() (Module, string, error) { return (&Cache{}).Load(newCompiler(), []byte("text")) },
		"a cubin":     func() (Module, string, error) { return (&Cache{Folder: folder}).Load(newCompiler(), []byte("\x7fELF")) },
		"no compiler": func() (Module, string, error) { return (&Cache{Folder: folder}).Load(&compiler{}, []byte("text")) },
		"a compiler that says so": func() (Module, string, error) {
			c := newCompiler()
			c.cannot = true
			return (&Cache{Folder: folder}).Load(c, []byte("text"))
		},
	} {
		if m, _, err := use(); m != 1 || err != nil {
			t.Errorf("%s: %v, %v", name, m, err)
		}
	}
	if _, log, err := (&Cache{Folder: folder}).Load(newCompiler(), []byte("wrong")); log != "a log" || err == nil {
		t.Errorf("text that is wrong: %q, %v", log, err)
	}
	if n := len(cacheFiles(t, folder)); n != 0 {
		t.Errorf("%d files", n)
	}
}

// TestCacheOfTwoProcesses lets processes load, store and evict in one folder at the same time. None may fail, or load
// something else than it asked for.
func TestCacheOfTwoProcesses(t *testing.T) {
	folder := t.TempDir()
	var running []*exec.Cmd
	var outs [3]bytes.Buffer
	for i := range outs {
		cmd := exec.Command(os.Args[0], "-test.run=^TestCacheChild$", "-test.timeout=60s")
		cmd.Env = append(os.Environ(), "CUDA_TEST_CACHE="+folder)
		cmd.Stdout, cmd.Stderr = &outs[i], &outs[i]
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		running = append(running, cmd)
	}
	for i, cmd := range running {
		if err := cmd.Wait(); err != nil {
			t.Errorf("process %d: %v\n%s", i, err, &outs[i])
		}
	}
	for _, f := range cacheFiles(t, folder) {
		if !strings.HasSuffix(f, cacheExt) {
			t.Errorf("%s was left behind", f)
		}
	}
}

// TestCacheChild is one process of TestCacheOfTwoProcesses.
func TestCacheChild(t *testing.T) {
	folder := os.Getenv("CUDA_TEST_CACHE")
	if folder == "" {
		t.Skip("a process of TestCacheOfTwoProcesses")
	}
	var log bytes.Buffer
	k := &Cache{Folder: folder, Limit: int64(6 * (cacheHeader + 4000)), Log: slog.New(slog.NewTextHandler(&log, nil))}
	for i := range 300 {
		c := newCompiler()
		text := strings.Repeat(fmt.Sprintf("text %d ", i%8), 500)
		mustLoad(t, k, c, text)
		if len(c.loaded) != 1 || c.loaded[0] != "\x7fELF"+text {
			t.Fatalf("%.20q was loaded for %.20q", c.loaded, text)
		}
	}
	if u := k.Uses(); u.Corrupt != 0 || log.Len() != 0 {
		t.Errorf("%+v, log %s", u, &log)
	}
}
