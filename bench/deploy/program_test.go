package deploy

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const root = "../../deploy"

// program is what the real binary says of itself.
var program struct {
	binary string
	base   string          // http://127.0.0.1:port of a running one
	envs   map[string]bool // variables that it reads
	drain  time.Duration   // default of --drain_timeout
	port   int             // default of --port
}

func TestMain(m *testing.M) {
	code, err := with(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// with builds the binary, reads its help, starts it and runs the tests.
func with(run func() int) (int, error) {
	dir, err := os.MkdirTemp("", "deploy")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	program.binary = filepath.Join(dir, "remote-client-server")
	build := exec.Command("go", "build", "-o", program.binary, ".")
	build.Dir = "../.."
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("go build: %w\n%s", err, out)
	}
	if err := help(); err != nil {
		return 1, err
	}
	server := command("--host", "127.0.0.1", "--port", "0", "--no_redis", "--log_format", "json")
	logged, err := server.StderrPipe()
	if err != nil {
		return 1, err
	}
	if err := server.Start(); err != nil {
		return 1, err
	}
	defer server.Wait()
	defer server.Process.Signal(syscall.SIGTERM)
	listening := make(chan string, 1)
	go func() {
		defer close(listening)
		for lines := bufio.NewScanner(logged); lines.Scan(); {
			var line struct{ Msg, Address string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "listening" {
				listening <- line.Address
			}
		}
	}()
	address, ok := <-listening
	if !ok {
		return 1, fmt.Errorf("the server ended without listening")
	}
	program.base = "http://" + address
	const patience = time.Minute
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if status, _, err := get("/v2/health/ready"); err == nil && status == 200 {
			return run(), nil
		}
		if time.Now().After(deadline) {
			return 1, fmt.Errorf("the server is not ready after %v", patience)
		}
	}
}

// command runs the binary with no variables but those of env.
func command(args ...string) *exec.Cmd {
	cmd := exec.Command(program.binary, args...)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=/nonexistent"}
	return cmd
}

// help reads the variables and defaults that --help names, and the names of
// the Hub's variables out of the sources that read them.
func help() error {
	out, err := command("--help").Output()
	if err != nil {
		return fmt.Errorf("--help: %w", err)
	}
	text := strings.Join(strings.Fields(string(out)), " ")
	program.envs = map[string]bool{}
	for _, m := range regexp.MustCompile(`\$([A-Z][A-Z0-9_]+)`).FindAllStringSubmatch(text, -1) {
		program.envs[m[1]] = true
	}
	number := func(flag string) (n int) {
		if m := regexp.MustCompile(`--` + flag + `=\S+ [^$]*\((\d+)\) \(\$`).FindStringSubmatch(text); m != nil {
			n, _ = strconv.Atoi(m[1])
		}
		return n
	}
	program.drain = time.Duration(number("drain_timeout")) * time.Second
	program.port = number("port")
	if program.drain == 0 || program.port == 0 || !program.envs["MODEL"] {
		return fmt.Errorf("--help does not name the defaults of --drain_timeout and --port: %s", out)
	}
	program.envs["MODEL_ID"] = true // hidden in the help
	sources, err := filepath.Glob("../../models/hub/*.go")
	if err != nil {
		return err
	}
	for _, path := range sources {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range regexp.MustCompile(`"((?:HF|HUGGING|HUGGINGFACE|TRANSFORMERS)_[A-Z_]+)"`).FindAllSubmatch(b, -1) {
			program.envs[string(m[1])] = true
		}
	}
	return nil
}

func get(path string) (int, []byte, error) {
	resp, err := http.Get(program.base + path)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, b, err
}

// foreign are variables that others read: the container runtimes and KServe.
var foreign = map[string]bool{"STORAGE_URI": true, "NVIDIA_VISIBLE_DEVICES": true, "NVIDIA_DRIVER_CAPABILITIES": true}

// accepts checks that the program knows every variable, and takes the values:
// its command version checks them all.
func accepts(t *testing.T, where string, env map[string]string) {
	t.Helper()
	cmd := command("version")
	for name, value := range env {
		switch {
		case program.envs[name]:
			cmd.Env = append(cmd.Env, name+"="+value)
		case !foreign[name]:
			t.Errorf("%s: the program reads no %s", where, name)
		}
	}
	if out, err := cmd.CombinedOutput(); err != nil || !bytes.HasPrefix(out, []byte("remote-client-server ")) {
		t.Errorf("%s: %v\n%s", where, err, out)
	}
}

// lacks ends a test for want of something that continuous integration has.
func lacks(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
}
