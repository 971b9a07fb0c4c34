package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	nethttp "net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"remote-client-server/http"
	"remote-client-server/models/hub"
)

// asProgram makes the test binary be the program itself, so that a test can
// run it as a process of its own.
const asProgram = "RUN_AS_REMOTE_CLIENT_SERVER"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) == "1" {
		os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
	}
	code := m.Run()
	for _, f := range afterAll {
		f()
	}
	os.Exit(code)
}

// afterAll is what tests leave to be done at the end of all.
var afterAll []func()

// read gives the config of a command line in an environment that holds only
// env, as "NAME=value".
func read(t *testing.T, args string, env ...string) (*config, []string) {
	t.Helper()
	cleanEnv(t)
	for _, e := range env {
		k, v, _ := strings.Cut(e, "=")
		t.Setenv(k, v)
	}
	l, err := readLine(strings.Fields(args), io.Discard, io.Discard)
	if err != nil || l == nil {
		t.Fatal(l, err)
	}
	return l.config()
}

// cleanEnv takes every variable that a flag knows out of the environment.
func cleanEnv(t testing.TB) {
	typ := reflect.TypeOf(flags{})
	for i := range typ.NumField() {
		for _, env := range strings.Split(typ.Field(i).Tag.Get("env"), ",") {
			if env != "" {
				t.Setenv(env, "") // remembers the old value
				os.Unsetenv(env)
			}
		}
	}
}

// TestEveryFlag reads every flag in both spellings and from its variable, and
// checks that it reaches its field.
func TestEveryFlag(t *testing.T) {
	typ := reflect.TypeOf(flags{})
	for i := range typ.NumField() {
		f := typ.Field(i)
		name := f.Tag.Get("name")
		if name == "" || name == "version" {
			continue
		}
		value := func(l *line) string { return fmt.Sprint(reflect.ValueOf(l.flags).Field(i)) }
		want := "7"
		if f.Type.Kind() == reflect.Slice {
			want = "[7]"
		}
		forms := [][]string{{"--" + name + "=7"}, {"--" + strings.ReplaceAll(name, "_", "-") + "=7"}}
		if f.Type != reflect.TypeOf(toggle("")) {
			forms = append(forms, []string{"--" + name, "7"}, []string{"--" + strings.ReplaceAll(name, "_", "-"), "7"})
		}
		for _, args := range forms {
			cleanEnv(t)
			for _, env := range strings.Split(f.Tag.Get("env"), ",") {
				if env != "" {
					t.Setenv(env, "the flag wins")
				}
			}
			l, err := readLine(args, io.Discard, io.Discard)
			if err != nil || len(l.faults) > 0 || value(l) != want {
				t.Errorf("%v: %q, %v %v", args, value(l), err, l.faults)
			}
		}
		for _, env := range strings.Split(f.Tag.Get("env"), ",") {
			if env == "" {
				continue
			}
			cleanEnv(t)
			t.Setenv(env, "7")
			if l, _ := readLine(nil, io.Discard, io.Discard); value(l) != want {
				t.Errorf("%s: %q", env, value(l))
			}
			t.Setenv(env, "")
			if l, _ := readLine(nil, io.Discard, io.Discard); value(l) != "" && value(l) != "[]" {
				t.Errorf("empty %s: %q", env, value(l))
			}
		}
	}
}

func TestDefaults(t *testing.T) {
	c, faults := read(t, "")
	if c.hub.Offline || c.hub.Endpoint != "" || !strings.HasPrefix(c.hub.UserAgent, "remote-client-server/") {
		t.Errorf("the Hub: %v", c.hub)
	}
	c.hub = hub.Settings{}
	want := &config{
		host: "0.0.0.0", port: 8888, name: "builtin-embed", kind: "embed", builtin: true, dtype: "auto", device: "auto", invariant: true, gemm: "auto",
		jobTimeout: 300 * time.Second, queueSize: 512, queueTokens: 4 << 20, maxBody: 64 << 20, maxInputs: 2048,
		failGrace: 30 * time.Second, drainTimeout: 30 * time.Second, logFormat: "auto",
	}
	if len(faults) > 0 || !reflect.DeepEqual(c, want) {
		t.Errorf("%+v\nwant %+v\nfaults %v", c, want, faults)
	}
}

func TestModels(t *testing.T) {
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	files := t.TempDir()
	own := filepath.Join(files, "Mine")
	if err := os.Mkdir(own, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(own, "config.json"), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		title, args string
		env         []string
		name, repo  string
		kind, dir   string
	}{
		{"the documented start", "--model nomic-ai-nomic-embed-text-v1-5 --model_repo_id nomic-ai/nomic-embed-text-v1.5 --model_type embed --local_files --no_redis", nil,
			"nomic-ai-nomic-embed-text-v1-5", "nomic-ai/nomic-embed-text-v1.5", "embed", wd + "/model_files/nomic-ai-nomic-embed-text-v1-5"},
		{"a container", "--host 0.0.0.0 --port 8888 --model Nomic", []string{"MODEL=Nomic", "MODEL_REPO_ID=nomic-ai/x", "MODEL_TYPE=EMBED", "NO_REDIS=False", "USE_VLLM=true"},
			"Nomic", "nomic-ai/x", "embed", "/app/model_files/nomic"},
		{"a flag beats its variable", "--model a --model-type embed", []string{"MODEL=b", "MODEL_TYPE=ner"}, "a", "", "embed", "/app/model_files/a"},
		{"a name from the repository", "--model_repo_id Org/My-Model --model_type embed", nil, "my-model", "Org/My-Model", "embed", "/app/model_files/my-model"},
		{"local files by variable", "--model a --model_type embed", []string{"LOCAL_FILES=Yes"}, "a", "", "embed", wd + "/model_files/a"},
		{"local files said no", "--model a --model_type embed --local_files=false", []string{"LOCAL_FILES=1"}, "a", "", "embed", "/app/model_files/a"},
		{"an odd word in a variable is no", "--model a --model_type embed", []string{"LOCAL_FILES=None"}, "a", "", "embed", "/app/model_files/a"},
		{"KServe's variables", "", []string{"MODEL_NAME=m", "MODEL_ID=o/m", "MODEL_FILES_PATH=/mnt/models", "MODEL_TYPE=embed"}, "m", "o/m", "embed", "/mnt/models/m"},
		{"KServe's flags", "--model_name m --model_id o/m --http_port 8080 --model_type embed", nil, "m", "o/m", "embed", "/app/model_files/m"},
		{"KServe's flags with dashes", "--model-name m --model-id o/m --http-port 8080 --model-type embed", nil, "m", "o/m", "embed", "/app/model_files/m"},
		{"an engine id is no repository", "--model m --model_type embed --no_redis", []string{"MODEL_ID=4acbe913"}, "m", "", "embed", "/app/model_files/m"},
		{"the model's own folder", "--model_type embed --model_files " + own, nil, "Mine", "", "embed", own},
		{"the model's own folder under a name", "--model other --model_type embed --model_files " + own, nil, "other", "", "embed", own},
		{"the folder above", "--model Other --model_type embed --model_files " + files, nil, "Other", "", "embed", filepath.Join(files, "other")},
		{"the folder above, not in lower case", "--model Mine --model_type embed --model_files " + files, nil, "Mine", "", "embed", own},
		{"a type alone", "--model_type vision_embed", nil, "builtin-vision-embed", "", "vision-embed", ""},
		{"empty variables", "", []string{"MODEL=", "MODEL_TYPE= ", "PORT="}, "builtin-embed", "", "embed", ""},
	} {
		t.Run(c.title, func(t *testing.T) {
			got, faults := read(t, c.args, c.env...)
			if len(faults) > 0 {
				t.Fatal(faults)
			}
			if got.name != c.name || got.repoID != c.repo || got.kind != c.kind || got.dir != c.dir || got.builtin != (c.dir == "") {
				t.Errorf("name %q, repository %q, type %q, folder %q, built in %v", got.name, got.repoID, got.kind, got.dir, got.builtin)
			}
			if strings.Contains(c.args, "8080") && got.port != 8080 {
				t.Errorf("port %d", got.port)
			}
		})
	}
}

func redisAddress(c *config) any {
	if c.redis == nil {
		return ""
	}
	return c.redis.Address
}

func TestValues(t *testing.T) {
	for _, c := range []struct {
		args string
		env  string
		got  func(c *config) any
		want any
	}{
		{"--port 0", "", func(c *config) any { return c.port }, 0},
		{"", "PORT=8080", func(c *config) any { return c.port }, 8080},
		{"--port 1", "PORT=8080", func(c *config) any { return c.port }, 1},
		{"--host [::1]", "", func(c *config) any { return c.host }, "::1"},
		{"--dtype BF16", "", func(c *config) any { return c.dtype }, "bfloat16"},
		{"--dtype f32", "", func(c *config) any { return c.dtype }, "float32"},
		{"--pooling CLS", "", func(c *config) any { return c.pooling }, "cls"},
		{"--threads 2", "", func(c *config) any { return c.threads }, 2},
		{"--threads 1024", "", func(c *config) any { return c.threads }, 1024},
		{"--queue_tokens 100000", "", func(c *config) any { return c.queueTokens }, 100_000},
		{"", "QUEUE_TOKENS=1", func(c *config) any { return c.queueTokens }, 1},
		{"--job_timeout 1.5", "", func(c *config) any { return c.jobTimeout }, 1500 * time.Millisecond},
		{"--job_timeout 2m", "", func(c *config) any { return c.jobTimeout }, 2 * time.Minute},
		{"--fail_grace 0", "", func(c *config) any { return c.failGrace }, time.Duration(0)},
		{"--max_body 1000", "", func(c *config) any { return c.maxBody }, 1000},
		{"--max_body 32MiB", "", func(c *config) any { return c.maxBody }, 32 << 20},
		{"--max_body 1GB", "", func(c *config) any { return c.maxBody }, 1_000_000_000},
		{"--strict_fields", "", func(c *config) any { return c.strict }, true},
		{"", "STRICT_FIELDS=1", func(c *config) any { return c.strict }, true},
		{"--strict_fields=no", "STRICT_FIELDS=1", func(c *config) any { return c.strict }, false},
		{"--model_device CUDA:1", "", func(c *config) any { return c.device }, "cuda:1"},
		{"--gemm cublaslt --batch_invariant=false", "", func(c *config) any { return fmt.Sprintf("%s %v %v", c.gemm, c.invariant, c.notes) }, "cublaslt false []"},
		{"--gemm cublaslt", "", func(c *config) any { return len(c.notes) }, 1},
		{"--model_device tpu", "", func(c *config) any { return c.device + c.notes[0] }, `autothe device "tpu" is unknown and counts as auto`},
		{"--api_key a --api_key b", "", func(c *config) any { return strings.Join(c.keys, " ") }, "a b"},
		{"", "API_KEY=a,b", func(c *config) any { return strings.Join(c.keys, " ") }, "a b"},
		{"--semoss_id e1", "", redisAddress, "redis.semoss.svc.cluster.local:6379"},
		{"--semoss_id e1", "REDIS_PORT=tcp://10.0.0.1:6380", redisAddress, "redis.semoss.svc.cluster.local:6380"},
		{"--semoss_id e1 --redis_host r", "", redisAddress, "r:6379"},
		{"--semoss_id e1 --no_redis", "", redisAddress, ""},
		{"--semoss_id e1", "NO_REDIS=TRUE", redisAddress, ""},
		{"--semoss_id e1", "NO_REDIS=False", redisAddress, "redis.semoss.svc.cluster.local:6379"},
		{"--semoss_id N/A", "", redisAddress, ""},
		{"", "MODEL_ID=engine-1", redisAddress, "redis.semoss.svc.cluster.local:6379"},
	} {
		t.Run(c.args+" "+c.env, func(t *testing.T) {
			var env []string
			if c.env != "" {
				env = []string{c.env}
			}
			got, faults := read(t, c.args, env...)
			if len(faults) > 0 || c.got(got) != c.want {
				t.Errorf("%v, want %v; faults %v", c.got(got), c.want, faults)
			}
		})
	}
}

// TestFault55_AllFaultsAtOnce gives a line on which everything is wrong.
func TestFault55_AllFaultsAtOnce(t *testing.T) {
	cleanEnv(t)
	t.Setenv("MAX_BODY", "much")
	t.Setenv("PORT", "tcp://1.2.3.4:80")
	args := strings.Fields(`--nonsense --other thing --dtype int4 --threads=-1 --queue_size 0 --job_timeout never --model ../../etc
		--model_type speech --model_repo_id nomic --no_redis=perhaps --pooling sum --log_format xml --max_inputs 1e9 --redis_port x
		--redis_url http://secret@r --api_key é --api_key_file /nowhere/keys --log_level loud --hub_workers 0
		--media_allow_cidrs 10.0.0.0 --media_allow_domains a/b --host http://x stray --drain_timeout`)
	var stderr bytes.Buffer
	if code := run(args, io.Discard, &stderr); code != exitFlags {
		t.Errorf("exit code %d", code)
	}
	for _, fault := range []string{
		"unknown flag --nonsense", "unknown flag --other", `unexpected argument "stray"`, "--drain_timeout: the value is missing",
		`--port: "tcp://1.2.3.4:80" is no whole number from 0 to 65535`, `--max_body: "much" is no size`,
		`--dtype: "int4" is none of`, `--threads: "-1" is no whole number`, `--queue_size: "0"`, `--job_timeout: "never" is no time`,
		`--model: "../../etc" is no name`, `--model_type: "speech" is none of text, ner, embed`, `--model_repo_id: "nomic" is no repository`,
		`--no_redis: "perhaps" is neither`, `--pooling: "sum" is none of`, `--log_format: "xml"`, `--max_inputs: "1e9"`, `--redis_port: "x"`,
		"--redis_url: is no address", "--api_key: a key is 1 to 4096 printable ASCII characters", "--api_key_file: stat /nowhere/keys",
		`--log_level: "loud" is none of debug, error, info, warn`, `--hub_workers: "0"`,
		`--media_allow_cidrs: "10.0.0.0"`, `--media_allow_domains: "a/b"`, `--host: "http://x"`,
	} {
		if !strings.Contains(stderr.String(), fault) {
			t.Errorf("no fault %s", fault)
		}
	}
	if n := strings.Count(stderr.String(), "\n  "); n != 26 {
		t.Errorf("%d faults", n)
	}
	if strings.Contains(stderr.String(), "secret") || strings.Contains(stderr.String(), "é") {
		t.Error("a secret is shown")
	}
	if t.Failed() {
		t.Log(stderr.String())
	}
	for _, n := range []string{"1025", "4096"} { // as the backend has it
		if _, faults := read(t, "--threads "+n); len(faults) != 1 || !strings.Contains(faults[0], "from 0 to 1024") {
			t.Errorf("%s threads: %v", n, faults)
		}
	}
	if _, faults := read(t, "", "API_KEY= "); len(faults) != 1 || !strings.HasPrefix(faults[0], "API_KEY: holds nothing but blanks") {
		t.Errorf("a blank key: %v", faults)
	}
	if _, faults := read(t, "--model a --model_type embed --model_repo_id o/a--b"); len(faults) != 1 || !strings.HasPrefix(faults[0], "--model_repo_id") {
		t.Errorf("a repository's name that the Hub does not have: %v", faults)
	}
	if _, faults := read(t, "--model a"); len(faults) != 1 || !strings.HasPrefix(faults[0], "--model_type: is required") {
		t.Errorf("a model without a type: %v", faults)
	}
}

// TestBlankValues gives flags that say nothing, which counts as not given.
func TestBlankValues(t *testing.T) {
	cleanEnv(t)
	args := []string{"--queue_size= ", "--job_timeout", "\t", "--max_body", "", "--pooling= ", "--port", " "}
	l, err := readLine(args, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	c, faults := l.config()
	if len(faults) > 0 || c.port != 8888 || c.queueSize != 512 || c.jobTimeout != 300*time.Second || c.maxBody != 64<<20 || c.pooling != "" {
		t.Errorf("%+v, %v", c, faults)
	}
}

func TestHelpAndVersion(t *testing.T) {
	cleanEnv(t)
	for args, want := range map[string]string{
		"--version":   "remote-client-server dev",
		"--help":      "--model_repo_id",
		"-h":          "--model_repo_id",
		"version":     "remote-client-server dev",
		"demo --help": "Usage: remote-client-server demo",
	} {
		var stdout bytes.Buffer
		if code := run(strings.Fields(args), &stdout, io.Discard); code != 0 || !strings.Contains(stdout.String(), want) {
			t.Errorf("%s: %d %s", args, code, stdout.String())
		}
	}
}

// TestStartsThatEndAtOnce runs the program where it cannot serve.
func TestStartsThatEndAtOnce(t *testing.T) {
	empty := t.TempDir()
	if err := os.Mkdir(filepath.Join(empty, "hollow"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, args, want string }{
		{"a type that is to come", "--model_type image", "model type image is not in this build yet"},
		{"a model of such a type", "--model a --model_type NER", "model type ner is not in this build yet"},
		{"a download of nothing", "download", "no repository is named: give --model_repo_id"},
		{"a check of what is not there", "check --model gone --model_type embed --model_files " + empty, "there is no folder " + empty + "/gone"},
		{"a measure of what is not there", "bench --model gone --model_type embed --model_files " + empty, "there is no folder " + empty + "/gone"},
		{"a completion for no shell", "completion", "which shell? one of bash, zsh, fish"},
		{"a device that is required", "--model_device cuda --require_device", "device cuda is required: cuda: dlopen: no driver"},
		{"no folder", "--port 0 --fail_grace 0 --model Gone --model_type embed --model_files " + empty,
			"there is no folder " + empty + "/gone: put the files of the model's repository there"},
		{"a hollow folder", "--port 0 --fail_grace 0 --model hollow --model_type embed --model_files " + empty,
			"the folder " + empty + "/hollow holds no config.json: put the files of the model's repository there"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := program(t, c.args)
			out, err := cmd.CombinedOutput()
			code := exitStart
			if strings.HasPrefix(c.args, "download") || strings.HasPrefix(c.args, "completion") {
				code = exitFlags
			}
			if cmd.ProcessState.ExitCode() != code || !strings.Contains(string(out), c.want) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// program is the program as a process of its own.
func program(t *testing.T, args string) *exec.Cmd {
	cleanEnv(t)
	cmd := exec.Command(os.Args[0], strings.Fields(args)...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	return cmd
}

// started is a running program and where it listens.
type started struct {
	*exec.Cmd
	url    string
	lines  chan map[string]any // of the log
	stdout bytes.Buffer        // complete after Wait
}

func start(t *testing.T, args string) *started {
	t.Helper()
	return begin(t, program(t, "--host 127.0.0.1 --port 0 --log_format json "+args))
}

// begin runs a command that becomes the program.
func begin(t *testing.T, cmd *exec.Cmd) *started {
	t.Helper()
	s := &started{Cmd: cmd, lines: make(chan map[string]any, 100)}
	s.Stdout = &s.stdout
	stderr, err := s.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Process.Kill() })
	go func() {
		defer close(s.lines)
		for r := bufio.NewScanner(stderr); r.Scan(); {
			var line map[string]any
			if json.Unmarshal(r.Bytes(), &line) == nil {
				s.lines <- line
			}
		}
	}()
	s.url = "http://" + s.until(t, "listening")["address"].(string)
	return s
}

// until reads the log up to a message.
func (s *started) until(t *testing.T, msg string) map[string]any {
	t.Helper()
	limit := time.After(60 * time.Second)
	for {
		select {
		case line, ok := <-s.lines:
			if !ok {
				t.Fatalf("the log ended before %q", msg)
			}
			if line["msg"] == msg {
				return line
			}
		case <-limit:
			t.Fatalf("never in the log: %q", msg)
		}
	}
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	res, err := nethttp.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// TestFailedStartKeepsAnswering starts with a folder that is not there: the
// server says so until the grace has passed.
func TestFailedStartKeepsAnswering(t *testing.T) {
	s := start(t, "--fail_grace 1h --model gone --model_type embed --model_files "+t.TempDir())
	s.until(t, "the start failed")
	if code, body := get(t, s.url+"/api/health"); code != 503 || body != `{"status":"error"}` {
		t.Errorf("health: %d %s", code, body)
	}
	if code, body := get(t, s.url+"/api/status"); code != 200 || !strings.Contains(body, `"status":"Model configuration not found"`) {
		t.Errorf("status: %d %s", code, body)
	}
	if err := s.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.Wait()
	if code := s.ProcessState.ExitCode(); code != exitStart {
		t.Errorf("exit code %d", code)
	}
}

// TestUnusableFiles starts with a repository whose files are broken.
func TestUnusableFiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"model_type": 5`), 0o644); err != nil {
		t.Fatal(err)
	}
	s := start(t, "--fail_grace 1h --model broken --model_type embed --model_files "+dir)
	s.until(t, "the start failed")
	if code, body := get(t, s.url+"/api/status"); code != 200 || !strings.Contains(body, `"status":"Model configuration not found"`) {
		t.Errorf("status: %d %s", code, body)
	}
	if p := failure(errors.New("no memory")); p != http.LoadFailed {
		t.Errorf("a failure that no file caused: %v", p)
	}
}

// TestQueueTokens lets no second job wait.
func TestQueueTokens(t *testing.T) {
	s := start(t, "--queue_tokens 10 --drain_timeout 0")
	s.until(t, "try it")
	s.busy(t)
	s.stream(t, []string{"one that waits, with more than ten tokens in its only text"}, "waiting")
	res, err := nethttp.Post(s.url+"/v1/embeddings", "application/json", strings.NewReader(`{"input":"a"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if n, err := strconv.Atoi(res.Header.Get("Retry-After")); res.StatusCode != 429 || err != nil || n < 1 {
		t.Errorf("%d, Retry-After %q", res.StatusCode, res.Header.Get("Retry-After"))
	}
}

func TestReachable(t *testing.T) {
	for in, want := range map[string]string{
		"0.0.0.0:8888": "localhost:8888", "[::]:1": "localhost:1", "127.0.0.1:5": "127.0.0.1:5", "[::1]:5": "[::1]:5",
	} {
		if got := reachable(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
