package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	nethttp "net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Faults that only the whole program can show. TestFaultNN is the fault of that
// number in the table of faults (faulttable_test.go).

// healthy asks what every healthy server answers.
func (s *started) healthy(t *testing.T) {
	t.Helper()
	if code, body := get(t, s.url+"/api/health"); code != 200 || body != `{"status":"ok"}` {
		t.Errorf("health: %d %s", code, body)
	}
	res, err := nethttp.Post(s.url+"/v1/embeddings", "application/json", strings.NewReader(`{"input":"a"}`))
	if err != nil {
		t.Error(err)
		return
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); err != nil || res.StatusCode != 200 || !bytes.HasPrefix(b, []byte(`{"object":"list","model":`)) {
		t.Errorf("the next request: %d %.200s %v", res.StatusCode, b, err)
	}
}

// metric reads one value off the page behind /metrics.
func (s *started) metric(t *testing.T, name string) float64 {
	t.Helper()
	_, page := get(t, s.url+"/metrics")
	for line := range strings.Lines(page) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	return 0
}

// resident is how much memory the program holds, in bytes; 0 is not known.
func (s *started) resident() int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", s.Process.Pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b))
	pages, _ := strconv.Atoi(fields[1])
	return pages * os.Getpagesize()
}

// TestFault09_IdleConnections opens 10,000 connections that say nothing, or
// half of a request.
func TestFault09_IdleConnections(t *testing.T) {
	want := 10_000
	if testing.Short() || raced {
		want = 3_000
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	n := min(want, int(limit.Cur)-500)
	if n < want {
		t.Logf("%d connections instead of %d: a process here may hold %d descriptors", n, want, limit.Cur)
	}
	s := start(t, "")
	s.until(t, "try it")
	before := s.resident()
	address := strings.TrimPrefix(s.url, "http://")
	var idle []net.Conn
	defer func() {
		for _, c := range idle {
			c.Close()
		}
	}()
	for i := range n {
		c, err := net.DialTimeout("tcp", address, 20*time.Second)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		idle = append(idle, c)
		if i%2 == 1 {
			io.WriteString(c, "GET /api/health HTTP/1.1\r\n")
		}
	}
	s.healthy(t)
	t.Logf("%d connections: %d KiB each", n, (s.resident()-before)/n>>10)
	for _, c := range idle {
		c.Close()
	}
	idle = nil
	s.healthy(t)
	s.end(t)
}

// repository copies a fixture so that a test can spoil it.
func repository(t *testing.T, from string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "model")
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// ends runs a program that should end by itself, and kills it when it does not.
func ends(t *testing.T, cmd *exec.Cmd) (output []byte, err error) {
	t.Helper()
	alarm := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	defer alarm.Stop()
	return cmd.CombinedOutput()
}

// code is the exit code behind the error of a program; -1 is of a signal.
func code(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return 0
}

// refuses starts the program on a folder that it must not serve: it ends with
// code 1 and one line that holds want, and without a trace of a panic.
func refuses(t *testing.T, dir, want string) {
	t.Helper()
	out, err := ends(t, program(t, "--host 127.0.0.1 --port 0 --fail_grace 0 --model_type embed --model_files "+dir))
	if code(err) != exitStart || !strings.Contains(string(out), want) {
		t.Errorf("%v\n%.2000s\nwant %q", err, out, want)
	}
	if strings.Contains(string(out), "panic") || strings.Contains(string(out), "goroutine ") {
		t.Errorf("a panic:\n%.2000s", out)
	}
	if n := strings.Count(string(out), "the start failed"); n != 1 || len(out) > 8192 {
		t.Errorf("%d lines, %d bytes:\n%.2000s", n, len(out), out)
	}
}

// safetensors is a file with this header in front of its body.
func safetensors(header string, body []byte) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), body...)
}

// weights are the fixture's header and body.
func weights(t *testing.T) (header string, body []byte) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(fixture, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	n := binary.LittleEndian.Uint64(b)
	return string(b[8 : 8+n]), b[8+n:]
}

// TestFault37_SafetensorsThatLie changes one thing of a good file each time.
func TestFault37_SafetensorsThatLie(t *testing.T) {
	header, body := weights(t)
	const first = `"embeddings.LayerNorm.bias":{"dtype":"F32","shape":[24],"data_offsets":[0,96]}`
	swap := func(with string) []byte {
		if !strings.Contains(header, first) {
			t.Fatal("the fixture has changed")
		}
		return safetensors(strings.Replace(header, first, with, 1), body)
	}
	long := safetensors(header, body)
	binary.LittleEndian.PutUint64(long, uint64(len(long))+1)
	endless := safetensors(header, body)
	binary.LittleEndian.PutUint64(endless, math.MaxUint64)
	const name = `"embeddings.LayerNorm.bias":`
	for _, c := range []struct {
		name string
		file []byte
		want string
	}{
		{"a header longer than the file", long, "header of"},
		{"a header of 2^64-1", endless, "header of"},
		{"an offset past the end", swap(name + `{"dtype":"F32","shape":[24],"data_offsets":[99999904,100000000]}`), "embeddings.LayerNorm.bias"},
		{"an overlap", swap(name + `{"dtype":"F32","shape":[24],"data_offsets":[4,100]}`), "overlap"},
		{"a backward range", swap(name + `{"dtype":"F32","shape":[24],"data_offsets":[96,0]}`), "embeddings.LayerNorm.bias"},
		{"an offset of -1", swap(name + `{"dtype":"F32","shape":[24],"data_offsets":[-1,95]}`), "embeddings.LayerNorm.bias"},
		{"a type too wide", swap(name + `{"dtype":"F64","shape":[24],"data_offsets":[0,96]}`), "shape [24] of F64 in 96 bytes"},
		{"a type too narrow", swap(name + `{"dtype":"BF16","shape":[24],"data_offsets":[0,96]}`), "shape [24] of BF16 in 96 bytes"},
		{"a type of integers", swap(name + `{"dtype":"I32","shape":[24],"data_offsets":[0,96]}`), "has type I32"},
		{"an unknown type", swap(name + `{"dtype":"F12","shape":[24],"data_offsets":[0,96]}`), `dtype \"F12\"`},
		{"a product that overflows", swap(name + `{"dtype":"F32","shape":[4294967296,4294967296,24],"data_offsets":[0,96]}`), "embeddings.LayerNorm.bias"},
		{"a name twice", swap(first + "," + name + `{"dtype":"F32","shape":[24],"data_offsets":[96,192]}`), "is there twice"},
		{"another shape", swap(name + `{"dtype":"F32","shape":[4,6],"data_offsets":[0,96]}`), "embeddings.LayerNorm.bias"},
		{"a header that is no JSON", safetensors(header[:len(header)/2], body), "header"},
		{"a deep header", safetensors(strings.Repeat("[", 100_000), body), "header"},
		{"an empty header", safetensors("{}", nil), "embeddings.word_embeddings.weight is missing"},
		{"nothing", nil, "model.safetensors: the file is empty"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := repository(t, fixture)
			write(t, filepath.Join(dir, "model.safetensors"), c.file)
			refuses(t, dir, c.want)
		})
	}
	t.Run("a header of 100 MB", func(t *testing.T) {
		dir := repository(t, fixture)
		path := filepath.Join(dir, "model.safetensors")
		write(t, path, safetensors(header, body))
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteAt(binary.LittleEndian.AppendUint64(nil, 100<<20), 0); err != nil {
			t.Fatal(err)
		}
		if err := f.Truncate(101 << 20); err != nil {
			t.Fatal(err)
		}
		refuses(t, dir, "header")
	})
}

// change sets keys of a JSON file; nil removes one.
func change(t *testing.T, path string, keys map[string]any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var v map[string]any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	for k, x := range keys {
		if v[k] = x; x == nil {
			delete(v, k)
		}
	}
	if b, err = json.Marshal(v); err != nil {
		t.Fatal(err)
	}
	write(t, path, b)
}

func TestFault38_HostileSettings(t *testing.T) {
	for _, c := range []struct {
		name, file string
		keys       map[string]any // set these
		share      float64        // or cut the file to this share
		text       string         // or write this
		want       string
	}{
		{name: "half a config", file: "config.json", share: 0.5, want: "config.json"},
		{name: "an empty config", file: "config.json", text: "{}", want: "config.json"},
		{name: "a list", file: "config.json", text: "[]", want: "config.json"},
		{name: "a deep config", file: "config.json", text: strings.Repeat(`{"a":`, 100_000), want: "config.json"},
		{name: "2^31 layers", file: "config.json", keys: map[string]any{"num_hidden_layers": 1 << 31}, want: "num_hidden_layers"},
		{name: "2^31 wide", file: "config.json", keys: map[string]any{"hidden_size": 1 << 31}, want: "hidden_size"},
		{name: "2^31 heads", file: "config.json", keys: map[string]any{"num_attention_heads": 1 << 31}, want: "num_attention_heads"},
		{name: "2^31 tokens", file: "config.json", keys: map[string]any{"vocab_size": 1 << 31}, want: "vocab_size"},
		{name: "2^31 positions", file: "config.json", keys: map[string]any{"max_position_embeddings": 1 << 31}, want: "max_position_embeddings"},
		{name: "1e999 layers", file: "config.json", text: `{"model_type":"bert","num_hidden_layers":1e999}`, want: "config.json"},
		{name: "-1 layers", file: "config.json", keys: map[string]any{"num_hidden_layers": -1}, want: "num_hidden_layers"},
		{name: "no family", file: "config.json", keys: map[string]any{"model_type": nil, "architectures": nil}, want: "model_type"},
		{name: "no width", file: "config.json", keys: map[string]any{"hidden_size": nil}, want: "want [300 768]"}, // BERT's own
		{name: "no layers", file: "config.json", keys: map[string]any{"num_hidden_layers": nil}, want: "tensor encoder.layer.3"},
		{name: "half a tokenizer", file: "tokenizer.json", share: 0.5, want: "tokenizer.json"},
		{name: "an empty tokenizer", file: "tokenizer.json", text: "{}", want: "tokenizer.json"},
		{name: "a tokenizer without a model", file: "tokenizer.json", keys: map[string]any{"model": nil}, want: "tokenizer.json"},
		{name: "a deep tokenizer", file: "tokenizer.json", text: strings.Repeat("[", 1_000_000), want: "tokenizer.json"},
		{name: "a token id of 2^31", file: "tokenizer.json", keys: map[string]any{"model": map[string]any{"type": "WordPiece", "unk_token": "a", "vocab": map[string]any{"a": 1 << 31}}}, want: "tokenizer.json"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := repository(t, fixture)
			path := filepath.Join(dir, c.file)
			switch {
			case c.keys != nil:
				change(t, path, c.keys)
			case c.share > 0:
				b, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				write(t, path, b[:int(float64(len(b))*c.share)])
			default:
				write(t, path, []byte(c.text))
			}
			refuses(t, dir, c.want)
		})
	}
}

// TestFault39_PickleWithCode serves a repository whose weights would make a
// file if Python read them, and one of the same kind that does nothing.
func TestFault39_PickleWithCode(t *testing.T) {
	trace := filepath.Join(t.TempDir(), "executed")
	command := "touch " + trace
	call := "\x80\x02cposix\nsystem\nX" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(command)))) + command + "\x85R."
	for name, file := range map[string][]byte{
		"a bare pickle": []byte(call), "a zip": torchZip(t, call),
		"an eval": torchZip(t, "\x80\x02cbuiltins\neval\nX\x03\x00\x00\x001+1\x85R."),
	} {
		t.Run(name, func(t *testing.T) {
			dir := repository(t, fixture)
			if err := os.Remove(filepath.Join(dir, "model.safetensors")); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, "pytorch_model.bin"), file)
			refuses(t, dir, "pytorch_model.bin")
		})
	}
	if _, err := os.Stat(trace); err == nil {
		t.Error("the code was executed")
	}
	s := start(t, "--model_type embed --model_files models/embed/testdata/bert-old")
	s.until(t, "try it")
	s.healthy(t)
	s.end(t)
}

// TestFault41_RemoteCode serves a repository that names code of its own and of
// another one: nothing of that is fetched or needed.
func TestFault41_RemoteCode(t *testing.T) {
	dir := repository(t, fixture)
	change(t, filepath.Join(dir, "config.json"), map[string]any{
		"auto_map":          map[string]any{"AutoModel": "Evil/code--modeling.Model", "AutoConfig": "modeling.Config"},
		"trust_remote_code": true, "custom_pipelines": map[string]any{"x": map[string]any{"impl": "evil.Pipe"}},
	})
	change(t, filepath.Join(dir, "tokenizer_config.json"), map[string]any{"auto_map": map[string]any{"AutoTokenizer": []any{"Evil/code--tok.Tok", nil}}})
	write(t, filepath.Join(dir, "modeling.py"), []byte("raise SystemExit"))
	h := newFakeHub(t, dir)
	h.open()
	var others atomic.Int64
	front := httptest.NewServer(nethttp.HandlerFunc(func(w nethttp.ResponseWriter, r *nethttp.Request) {
		if !strings.Contains(r.URL.Path, fakeRepo) || strings.HasSuffix(r.URL.Path, ".py") {
			others.Add(1)
		}
		h.Config.Handler.ServeHTTP(w, r)
	}))
	defer front.Close()
	t.Setenv("HF_ENDPOINT", front.URL)
	files := t.TempDir()
	s := start(t, "--fail_grace 0 --model Tiny --model_type embed --model_files "+files+" --model_repo_id "+fakeRepo)
	s.until(t, "try it")
	s.healthy(t)
	s.end(t)
	if h.requests.Load() == 0 {
		t.Error("nothing was asked of the Hub")
	}
	if n := others.Load(); n > 0 {
		t.Errorf("%d requests for code or another repository", n)
	}
	if _, err := os.Stat(filepath.Join(files, "tiny", "modeling.py")); err == nil {
		t.Error("the code was downloaded")
	}
}

// TestFault42_WeightsThatAreNoNumbers puts each such value into a matrix.
func TestFault42_WeightsThatAreNoNumbers(t *testing.T) {
	header, body := weights(t)
	var tensors map[string]struct {
		Offsets [2]int `json:"data_offsets"`
	}
	if err := json.Unmarshal([]byte(header), &tensors); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		tensor string
		value  float64
		want   string
	}{
		"NaN":                  {"encoder.layer.1.output.dense.weight", math.NaN(), "value 0 of the tensor encoder.layer.1.output.dense.weight is NaN"},
		"infinity":             {"embeddings.LayerNorm.weight", math.Inf(1), "value 0 of the tensor embeddings.LayerNorm.weight is +Inf"},
		"the other infinity":   {"encoder.layer.0.attention.self.query.bias", math.Inf(-1), "value 0 of the tensor encoder.layer.0.attention.self.query.bias is -Inf"},
		"a product past float": {"encoder.layer.2.output.dense.weight", 3e38, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := repository(t, fixture)
			spoiled := bytes.Clone(body)
			at := tensors[c.tensor].Offsets
			if at[1] == 0 && c.tensor != "" {
				t.Fatal("no tensor ", c.tensor)
			}
			end := at[0] + 4
			if c.want == "" { // all of it
				end = at[1]
			}
			for i := at[0]; i < end; i += 4 {
				binary.LittleEndian.PutUint32(spoiled[i:], math.Float32bits(float32(c.value)))
			}
			write(t, filepath.Join(dir, "model.safetensors"), safetensors(header, spoiled))
			want := "the model computes values that are not numbers"
			if c.want != "" {
				want = dir + ": "
			}
			refuses(t, dir, want)
			refuses(t, dir, c.want)
		})
	}
}

// TestFault45_SIGTERMWithAFullLine ends the program while 10,000 jobs wait.
// Each client gets an answer.
func TestFault45_SIGTERMWithAFullLine(t *testing.T) {
	clients := 10_000
	if testing.Short() || raced {
		clients = 1_000
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if most := int(limit.Cur) - 500; most < clients {
		t.Logf("%d clients instead of %d: a process here may hold %d descriptors", most, clients, limit.Cur)
		clients = most
	}
	s := start(t, "--queue_size 20000 --drain_timeout 1")
	s.until(t, "try it")
	busy := s.busy(t)
	const body = `{"input":"a"}`
	ask := fmt.Sprintf("POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	address := strings.TrimPrefix(s.url, "http://")
	conns := make([]net.Conn, clients)
	for i := range conns {
		c, err := net.DialTimeout("tcp", address, 20*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, ask); err != nil {
			t.Fatal(err)
		}
		conns[i] = c
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if _, line := get(t, s.url+"/api/queue"); line == fmt.Sprint("queue_size ", clients) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the line does not fill")
		}
	}
	if err := s.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	var answered, cancelled, lost atomic.Int64
	var all sync.WaitGroup
	for _, c := range conns {
		all.Go(func() {
			c.SetReadDeadline(time.Now().Add(2 * time.Minute))
			res, err := nethttp.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				lost.Add(1)
				return
			}
			defer res.Body.Close()
			b, err := io.ReadAll(res.Body)
			switch {
			case err == nil && res.StatusCode == 200:
				answered.Add(1)
			case err == nil && res.StatusCode == 503 && bytes.HasPrefix(b, []byte(`{"status":"cancelled",`)):
				cancelled.Add(1)
			default:
				lost.Add(1)
			}
		})
	}
	all.Wait()
	if rest, err := io.ReadAll(busy); err != nil || !strings.Contains(string(rest), `"status": "cancelled"`) {
		t.Errorf("the running job: %v %s", err, rest)
	}
	if lost.Load() > 0 || answered.Load()+cancelled.Load() != int64(clients) {
		t.Errorf("%d answered, %d cancelled, %d without an answer", answered.Load(), cancelled.Load(), lost.Load())
	}
	s.until(t, "ended")
	s.Wait()
	if code := s.ProcessState.ExitCode(); code != exitCut {
		t.Errorf("exit code %d", code)
	}
}
