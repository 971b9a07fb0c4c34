package main

import (
	"errors"
	"fmt"
	"go/ast"
	"io"
	"log/slog"
	"net"
	nethttp "net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Faults of the system around the program, and of its own goroutines.

// limited is the program under a shell that first does as said.
func limited(t *testing.T, first, args, redirect string) *exec.Cmd {
	t.Helper()
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("there is no shell that could set limits")
	}
	cmd := program(t, args)
	cmd.Args = append([]string{"sh", "-c", first + `exec "$0" "$@"` + redirect, os.Args[0]}, cmd.Args[1:]...)
	cmd.Path = sh
	return cmd
}

const quiet = "--host 127.0.0.1 --port 0 --log_format json "

func TestFault53_FewDescriptors(t *testing.T) {
	s := begin(t, limited(t, "ulimit -n 64; ", quiet, ""))
	s.until(t, "try it")
	var idle []net.Conn
	full := 0
	for range 200 {
		c, err := net.DialTimeout("tcp", strings.TrimPrefix(s.url, "http://"), 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		idle = append(idle, c)
	}
	for _, c := range idle { // those that are too many are told so
		c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		b := make([]byte, 64)
		if n, err := c.Read(b); err == nil && strings.HasPrefix(string(b[:n]), "HTTP/1.1 503 ") {
			full++
		}
		if full > 0 {
			break
		}
	}
	if full == 0 {
		t.Error("no connection was refused")
	}
	for _, c := range idle {
		c.Close()
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) { // until the server has seen that
		if res, err := nethttp.Get(s.url + "/api/health"); err == nil {
			res.Body.Close()
			if res.StatusCode == 200 {
				break
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("health does not come back")
		}
	}
	s.healthy(t)
	s.end(t)
}

// TestFault53_LittleMemory runs the program where it may hold 512 MiB and
// sends bodies at once that would take several times that.
func TestFault53_LittleMemory(t *testing.T) {
	parent, file := "/sys/fs/cgroup", "memory.max"
	if _, err := os.Stat(filepath.Join(parent, "cgroup.controllers")); err != nil { // version 1
		parent, file = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
	}
	if _, err := os.Stat(filepath.Join(parent, "cgroup.procs")); err != nil {
		t.Skip("there are no control groups of memory here: ", err)
	}
	group := filepath.Join(parent, fmt.Sprintf("rcs-test-%d", os.Getpid()))
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Skip("no control group can be made here: ", err)
	}
	t.Cleanup(func() {
		for range 100 { // it is busy until the program has gone
			if os.Remove(group) == nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
	limit, err := os.OpenFile(filepath.Join(group, file), os.O_WRONLY, 0)
	if err == nil {
		_, err = limit.WriteString(strconv.Itoa(512 << 20))
		err = errors.Join(err, limit.Close())
	}
	if err != nil {
		t.Skip("the memory of a control group cannot be limited here: ", err)
	}
	s := begin(t, limited(t, "echo $$ > "+group+"/cgroup.procs; ", quiet+"--max_body 4MiB", ""))
	s.until(t, "try it")
	clients := 200
	if testing.Short() || raced {
		clients = 20
	}
	large := `{"input":"` + strings.Repeat("a ", 3<<19) + `"}`
	done := make(chan int, clients)
	for range cap(done) {
		go func() {
			res, err := nethttp.Post(s.url+"/v1/embeddings", "application/json", strings.NewReader(large))
			if err != nil {
				done <- 0
				return
			}
			defer res.Body.Close()
			io.Copy(io.Discard, res.Body)
			done <- res.StatusCode
		}()
	}
	for range cap(done) {
		if status := <-done; status != 200 && status != 503 {
			t.Errorf("status %d", status)
		}
	}
	s.healthy(t)
	s.end(t)
}

// freePort is one that nobody listens on at the moment.
func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	return port
}

// mute runs a command that can tell nobody where it listens.
func mute(t *testing.T, cmd *exec.Cmd, port string) *started {
	t.Helper()
	s := &started{Cmd: cmd, url: "http://127.0.0.1:" + port}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Process.Kill() })
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if res, err := nethttp.Get(s.url + "/api/health"); err == nil {
			res.Body.Close()
			if res.StatusCode == 200 {
				return s
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("never healthy")
		}
	}
}

// TestFault53_LogsThatCannotBeWritten has every request write a line.
func TestFault53_LogsThatCannotBeWritten(t *testing.T) {
	for name, redirect := range map[string]string{"a full disk": " >/dev/full 2>&1", "closed": " >&- 2>&-"} {
		t.Run(name, func(t *testing.T) {
			if _, err := os.Stat("/dev/full"); err != nil {
				t.Skip(err)
			}
			port := freePort(t)
			s := mute(t, limited(t, "", "--host 127.0.0.1 --log_level debug --port "+port, redirect), port)
			for range 20 {
				s.healthy(t)
			}
			s.end(t)
		})
	}
	t.Run("a reader that has gone", func(t *testing.T) { // SIGPIPE
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		port := freePort(t)
		cmd := program(t, "--host 127.0.0.1 --log_level debug --port "+port)
		cmd.Stdout, cmd.Stderr = w, w
		r.Close()
		s := mute(t, cmd, port)
		w.Close()
		for range 20 {
			s.healthy(t)
		}
		s.end(t)
	})
}

// TestFault53_Hangup closes the terminal, so to speak.
func TestFault53_Hangup(t *testing.T) {
	s := start(t, "")
	s.until(t, "try it")
	for range 3 {
		if err := s.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		if err := s.Process.Signal(syscall.SIGPIPE); err != nil {
			t.Fatal(err)
		}
		s.healthy(t)
	}
	s.end(t)
}

// TestFault53_Stopped stops the whole program for a while, after which its
// clocks have jumped. What was asked meanwhile is answered.
func TestFault53_Stopped(t *testing.T) {
	s := start(t, "")
	s.until(t, "try it")
	s.healthy(t)
	if err := s.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() {
		res, err := nethttp.Post(s.url+"/v1/embeddings", "application/json", strings.NewReader(`{"input":"a"}`))
		if err == nil {
			res.Body.Close()
			if res.StatusCode != 200 {
				err = errors.New(res.Status)
			}
		}
		answered <- err
	}()
	time.Sleep(300 * time.Millisecond)
	if err := s.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; err != nil {
		t.Error(err)
	}
	s.healthy(t)
	s.end(t)
}

func TestFault54_PortInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	out, err := ends(t, program(t, "--host 127.0.0.1 --port "+port))
	if code(err) != exitStart || !strings.Contains(string(out), "cannot listen") || !strings.Contains(string(out), "127.0.0.1:"+port) ||
		!strings.Contains(string(out), "address already in use") || strings.Contains(string(out), "goroutine ") {
		t.Errorf("%v\n%s", err, out)
	}
	// Whoever has the port is not disturbed, and a free one is taken.
	s := start(t, "")
	s.until(t, "try it")
	s.healthy(t)
	s.end(t)
}

// TestFault44_ClientGone has clients leave the running program while their
// jobs wait and while they run, on every route that makes jobs.
func TestFault44_ClientGone(t *testing.T) {
	s := start(t, "--threads 1")
	s.until(t, "try it")
	const text = "how long is the day "
	long := `"` + strings.Repeat(text, 200) + `"`
	embeddings := func(n int) string { return `{"input":[` + long + strings.Repeat(","+long, n-1) + `]}` }
	infer := func(n int) string {
		return fmt.Sprintf(`{"inputs":[{"name":"text","datatype":"BYTES","shape":[%d],"data":[%s]}]}`, n, long+strings.Repeat(","+long, n-1))
	}
	gone := 0.0
	for _, c := range []struct {
		path string
		body func(n int) string
	}{{"/v1/embeddings", embeddings}, {"/api/generate", embeddings}, {"/v2/models/builtin-embed/infer", infer}} {
		send := func(body string) net.Conn {
			conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", c.path, len(body), body)
			return conn
		}
		jobs := func(want string) {
			t.Helper()
			for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
				_, body := get(t, s.url+"/api/jobs")
				if strings.HasSuffix(body, want) {
					return
				}
				if time.Now().After(deadline) {
					t.Fatalf("%s: never %s but %s", c.path, want, body)
				}
			}
		}
		running := send(c.body(400))
		jobs(`"waiting":0,"running":1}`)
		waiting := send(c.body(1))
		jobs(`"waiting":1,"running":1}`)
		waiting.Close()
		jobs(`"waiting":0,"running":1}`)
		running.Close()
		jobs(`"waiting":0,"running":0}`)
		gone += 2
		s.healthy(t)
		for deadline := time.Now().Add(time.Minute); s.metric(t, `modelserver_jobs_total{outcome="cancelled"}`) != gone; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: %v cancelled, want %v", c.path, s.metric(t, `modelserver_jobs_total{outcome="cancelled"}`), gone)
			}
		}
	}
	s.end(t)
}

func TestFault49_Guard(t *testing.T) {
	before := slog.Default()
	slog.SetDefault(slog.New(slog.DiscardHandler))
	defer slog.SetDefault(before)
	if err := guard("the listener", func() error { panic("boom") }); err == nil || err.Error() != "panic in the listener: boom" {
		t.Error(err)
	}
	if err := guard("the listener", func() error { return io.EOF }); err != io.EOF {
		t.Error(err)
	}
}

// goroutines are all the places where this module starts a goroutine, with what
// a panic in it comes to.
var goroutines = map[string]string{
	"cuda/device.go Start":                "an error of the start, or of the job",
	"kernels/build/main.go compileAll":    "ends the tool",
	"kernels/build/report.go assembleAll": "ends the tool",
	"cuda/emu/device.go Run":              "an error of the launch",
	"http/drain.go hangUp":                "TestFault49_Drain",
	"http/listen.go refuse":               "TestFault49_Refusal",
	"http/watch.go newWatch":              "TestFault49_WatchPoll",
	"http/media/fetch.go watch":           "ends the fetch",
	"models/embed/embed.go load":          "an error of the start",
	"models/hub/client.go newPatient":     "only cancels a context",
	"models/hub/download.go run":          "an error of the download",
	"runtime/cpu/pool.go newPool":         "passed on to the worker",
	"runtime/gpu/loader.go eachRow":       "an error of the start",
	"runtime/queue/job.go begin":          "only ends the job",
	"runtime/queue/queue.go Submit":       "only ends the job",
	"serve.go open":                       "TestFault49_Guard",
	"serve.go live":                       "TestFault49_Guard",
	"serve.go load":                       "TestFault49_Guard, TestFault49_Worker",
	"serve.go endings":                    "none of its own: it waits for signals and ends contexts",
	"status/redis.go newRedis":            "logged, and the goroutine goes on",
}

// TestFault49_EveryGoroutineIsKnown finds every go statement and every function
// of the library that starts one.
func TestFault49_EveryGoroutineIsKnown(t *testing.T) {
	found := map[string]bool{}
	for path, file := range sources(t, false) {
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Body == nil {
				continue
			}
			ast.Inspect(f.Body, func(n ast.Node) bool {
				starts := false
				switch n := n.(type) {
				case *ast.GoStmt:
					starts = true
				case *ast.CallExpr:
					if sel, ok := n.Fun.(*ast.SelectorExpr); ok {
						starts = slices.Contains([]string{"AfterFunc", "Go"}, sel.Sel.Name)
					}
				}
				if starts {
					found[path+" "+f.Name.Name] = true
				}
				return true
			})
		}
	}
	for place := range found {
		if goroutines[place] == "" {
			t.Errorf("%s starts a goroutine: what does a panic in it come to?", place)
		}
	}
	for place := range goroutines {
		if !found[place] {
			t.Errorf("%s starts no goroutine", place)
		}
	}
}
