package main

import (
	"encoding/json"
	"math"
	nethttp "net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"remote-client-server/models/builtin"
)

// emulatedBinary is the program built with the tag emu, once for all tests.
var emulatedBinary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "emulated")
	if err != nil {
		return "", err
	}
	afterAll = append(afterAll, func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "remote-client-server")
	cmd := exec.Command("go", "build", "-tags", "emu", "-o", path, ".")
	if out, err := cmd.CombinedOutput(); err != nil {
		return string(out), err
	}
	return path, nil
})

// emulated is the program with an emulated GPU, to be started.
func emulated(t *testing.T, plan, args string) *exec.Cmd {
	t.Helper()
	if testing.Short() {
		t.Skip("short: a program with an emulated GPU would have to be built")
	}
	path, err := emulatedBinary()
	if err != nil {
		t.Fatalf("%v\n%s", err, path)
	}
	cleanEnv(t)
	cmd := exec.Command(path, strings.Fields(args)...)
	cmd.Env = append(os.Environ(), "RCS_EMU_FAIL="+plan)
	return cmd
}

const emulatedServer = "--host 127.0.0.1 --port 0 --log_format json --model_device emu:sm_80 "

// TestAServerOnAGPU serves the built-in model by executing the kernels' PTX, and
// tells of its GPU as the contract's section 9 says.
func TestAServerOnAGPU(t *testing.T) {
	s := begin(t, emulated(t, "", emulatedServer))
	s.until(t, "try it")
	references, err := builtin.EmbedReferences()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range references {
		if r.Text == "" {
			continue
		}
		body, _ := json.Marshal(map[string]string{"input": r.Text})
		res, err := nethttp.Post(s.url+"/v1/embeddings", "application/json", strings.NewReader(string(body)))
		if err != nil {
			t.Fatal(err)
		}
		var answer struct {
			Data []struct{ Embedding []float64 }
		}
		err = json.NewDecoder(res.Body).Decode(&answer)
		res.Body.Close()
		if err != nil || len(answer.Data) != 1 {
			t.Fatalf("%d, %v", res.StatusCode, err)
		}
		dot := 0.0
		for i, x := range r.Vector {
			dot += float64(x) * answer.Data[0].Embedding[i]
		}
		if !(math.Abs(dot-1) < 1e-3) {
			t.Errorf("%.20q: cosine %g with the reference", r.Text, dot)
		}
	}
	if _, body := get(t, s.url+"/api/status"); !strings.Contains(body, `"gpu":true`) {
		t.Errorf("status: %s", body)
	}
	code, body := get(t, s.url+"/api/gpu/status")
	want := regexp.MustCompile(`^\{"timestamp":"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d{3}","memory_allocated_mb":\d+\.\d+,"memory_reserved_mb":\d+\.\d+,` +
		`"memory_used_mb":\d+\.\d+,"memory_total_mb":16384\.0,"gpu_utilization":0\.0,"device_name":"NVIDIA emulated sm_80","device_count":1,"cuda_version":"12\.9","error":null\}$`)
	if code != 200 || !want.MatchString(body) {
		t.Errorf("gpu status: %d %s", code, body)
	}
	var g map[string]any
	if err := json.Unmarshal([]byte(body), &g); err != nil || g["memory_allocated_mb"].(float64) <= 0 ||
		g["memory_allocated_mb"].(float64) > g["memory_reserved_mb"].(float64) || g["memory_reserved_mb"].(float64) > g["memory_used_mb"].(float64) {
		t.Errorf("memory: %s", body)
	}
}

// TestCheckOfAGPU prints what an operator wants to know of the GPU.
func TestCheckOfAGPU(t *testing.T) {
	out, err := emulated(t, "", "check --model_device emu:sm_90a --dtype bfloat16").CombinedOutput()
	for _, want := range []string{
		`(?m)^gpu +NVIDIA emulated sm_90a, 132 multiprocessors`, `(?m)^capability +9\.0$`, `(?m)^driver +CUDA 12\.9$`,
		`(?m)^parity +cosine >= 0\.999\d+ with sentence-transformers, \d+ texts, built-in model in bfloat16$`,
		`(?m)^copies +[\d.]+ GB/s measured, \d+ % of the nominal \d+$`, `(?m)^products +[\d.]+ TFLOP/s measured, \d+ % of the nominal \d+$`,
		`(?m)^kernels .*attention_bf16_\d+ .*wgmma_bf16_`, `(?m)^ok$`,
	} {
		if !regexp.MustCompile(want).Match(out) {
			t.Errorf("no line %s", want)
		}
	}
	if err != nil || t.Failed() {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestFault47_NoGPU asks for a GPU where there is no driver: the CPU takes its
// place with one line.
func TestFault47_NoGPU(t *testing.T) {
	out, err := program(t, "check --model_device cuda:1").CombinedOutput()
	if n := strings.Count(string(out), "the model runs on the CPU"); err != nil || n != 1 || !strings.Contains(string(out), "install the NVIDIA driver") {
		if _, statErr := os.Stat("/dev/nvidiactl"); statErr == nil {
			t.Skip("this machine has an NVIDIA driver")
		}
		t.Errorf("%v, said %d times\n%s", err, n, out)
	}
}

// TestFault47_KernelsThatAreRefused is a driver that takes none of the kernels:
// the CPU, or, where the GPU is required, an error that says what to do.
func TestFault47_KernelsThatAreRefused(t *testing.T) {
	for code, words := range map[string]string{"222": "install a newer NVIDIA driver", "221": "libnvidia-ptxjitcompiler.so.1"} {
		plan := "cuModuleLoadDataEx:0:" + code
		out, err := emulated(t, plan, "check --model_device emu:sm_80").CombinedOutput()
		if err != nil || strings.Count(string(out), "the model runs on the CPU") != 1 || !strings.Contains(string(out), words) || !regexp.MustCompile(`(?m)^device +cpu$`).Match(out) {
			t.Errorf("%v\n%s", err, out)
		}
		out, err = emulated(t, plan, "check --model_device emu:sm_80 --require_device").CombinedOutput()
		if err == nil || !strings.Contains(string(out), "device emu:sm_80 is required") || !strings.Contains(string(out), words) {
			t.Errorf("required: %v\n%s", err, out)
		}
	}
}

// TestFault46_AtTheStart is a GPU without room for the model: the start fails,
// and says what to do.
func TestFault46_AtTheStart(t *testing.T) {
	s := begin(t, emulated(t, "cuMemAlloc_v2:0:2", emulatedServer+"--fail_grace 1h"))
	line := s.until(t, "the start failed")
	if e := line["error"].(string); !strings.Contains(e, "out of memory") || !strings.Contains(e, "nvidia-smi") {
		t.Errorf("the error is %s", e)
	}
	if code, body := get(t, s.url+"/api/health"); code != 503 || body != `{"status":"error"}` {
		t.Errorf("health: %d %s", code, body)
	}
	if code, body := get(t, s.url+"/api/status"); code != 200 || !strings.Contains(body, `"status":"Model initialization FAILED"`) {
		t.Errorf("status: %d %s", code, body)
	}
}

// TestFault47_ALostDevice is a kernel that goes outside its memory while the
// server serves: its job fails, health says so, and the process ends with 3.
func TestFault47_ALostDevice(t *testing.T) {
	s := begin(t, emulated(t, "cuLaunchKernelEx:300:700", emulatedServer))
	s.until(t, "try it")
	for deadline := time.Now().Add(time.Minute); ; {
		res, err := nethttp.Post(s.url+"/v1/embeddings", "application/json", strings.NewReader(`{"input":"hello"}`))
		if err != nil {
			t.Fatal(err)
		}
		var answer struct {
			Error struct{ Code, Message string }
		}
		_ = json.NewDecoder(res.Body).Decode(&answer)
		res.Body.Close()
		if res.StatusCode == 200 && time.Now().Before(deadline) {
			continue
		}
		if res.StatusCode != 503 || answer.Error.Code != "device_lost" && answer.Error.Code != "model_not_ready" || !strings.Contains(answer.Error.Message, "the GPU failed") {
			t.Errorf("%d %+v", res.StatusCode, answer)
		}
		break
	}
	s.until(t, "the worker ended")
	if code, body := get(t, s.url+"/api/health"); code != 503 || body != `{"status":"error"}` {
		t.Errorf("health: %d %s", code, body)
	}
	for range s.lines { // until the process ends
	}
	s.Wait()
	if code := s.ProcessState.ExitCode(); code != exitDevice {
		t.Errorf("exit code %d, want %d", code, exitDevice)
	}
}
