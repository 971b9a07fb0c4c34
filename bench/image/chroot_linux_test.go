package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	spec "github.com/opencontainers/image-spec/specs-go/v1"
)

// unpacked lays the image's layers into a folder, as a runtime does.
func unpacked(t *testing.T) (root string, c spec.ImageConfig) {
	t.Helper()
	if os.Getuid() != 0 {
		lacks(t, "not root: the image cannot be entered by chroot")
	}
	a := made(t)
	root = t.TempDir()
	for _, l := range a.layers {
		z, err := gzip.NewReader(bytes.NewReader(a.files[blobPath(l.Digest)]))
		if err != nil {
			t.Fatal(err)
		}
		for r := tar.NewReader(z); ; {
			h, err := r.Next()
			if err == io.EOF {
				break
			}
			if err == nil {
				err = lay(root, h, r)
			}
			if err != nil {
				t.Fatalf("%s: %v", h.Name, err)
			}
		}
	}
	return root, decode[spec.Image](t, a.files[blobPath(a.config.Digest)]).Config
}

func lay(root string, h *tar.Header, r io.Reader) error {
	path := filepath.Join(root, h.Name)
	if h.Typeflag == tar.TypeSymlink {
		return os.Symlink(h.Linkname, path)
	}
	if h.Typeflag == tar.TypeDir {
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
	} else {
		b, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			return err
		}
	}
	if err := os.Chown(path, h.Uid, h.Gid); err != nil {
		return err
	}
	return syscall.Chmod(path, uint32(h.Mode))
}

// inside is a command that runs in the image as its user.
func inside(root string, c spec.ImageConfig, args ...string) *exec.Cmd {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = c.WorkingDir
	cmd.Env = c.Env
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: user, Gid: user}, Pdeathsig: syscall.SIGKILL}
	return cmd
}

// TestServes starts the image's entrypoint, asks it and ends it, with nothing
// of this machine's file system in reach.
func TestServes(t *testing.T) {
	root, c := unpacked(t)
	cmd := inside(root, c, c.Entrypoint...)
	cmd.Env = append(cmd.Env, "HOST=127.0.0.1", "PORT=0", "LOG_FORMAT=json")
	logged, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread() // Pdeathsig follows the thread
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	listening, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		for lines := bufio.NewScanner(logged); lines.Scan(); {
			var line struct{ Msg, Address string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "listening" {
				listening <- line.Address
			}
			fmt.Fprintln(os.Stderr, lines.Text())
		}
		ended <- cmd.Wait()
	}()
	const patience = time.Minute
	var base string
	select {
	case address := <-listening:
		base = "http://" + address
	case err := <-ended:
		t.Fatalf("the server ended: %v", err)
	case <-time.After(patience):
		t.Fatal("the server does not say where it listens")
	}
	client := &http.Client{Timeout: patience}
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		resp, err := client.Get(base + "/api/health")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == 200 {
				break
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("never healthy: %v", err)
		}
	}
	resp, err := client.Post(base+"/v1/embeddings", "application/json", strings.NewReader(`{"input": "Where is the library?"}`))
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Data []struct{ Embedding []float64 }
	}
	err = json.NewDecoder(resp.Body).Decode(&answer)
	resp.Body.Close()
	if err != nil || len(answer.Data) != 1 {
		t.Fatalf("%v, %v", answer, err)
	}
	var norm float64
	for _, x := range answer.Data[0].Embedding {
		norm += x * x
	}
	if norm < 0.999 || norm > 1.001 {
		t.Errorf("the vector's length is the root of %v", norm)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("after SIGTERM: %v", err)
		}
	case <-time.After(patience):
		t.Error("SIGTERM does not end the server")
	}
}

// TestVersionInside: the linker's version reaches the program.
func TestVersionInside(t *testing.T) {
	root, c := unpacked(t)
	out, err := inside(root, c, c.Entrypoint[0], "version").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "remote-client-server "+testVersion+" ") {
		t.Errorf("%s, %v", out, err)
	}
}

// TestDynamicPrograms: the loader and glibc in the image load each of its
// libraries, and a program that is linked against them runs, opens a library
// by name and finds a host.
func TestDynamicPrograms(t *testing.T) {
	root, c := unpacked(t)
	m := machines[runtime.GOARCH]
	for _, lib := range libraries {
		path := "/usr/lib/" + m.triplet + "/" + lib
		out, err := inside(root, c, "/"+m.loader, "--list", path).CombinedOutput()
		if err != nil || strings.Contains(string(out), "not found") {
			t.Errorf("%s: %v\n%s", lib, err, out)
		}
	}
	cc, err := exec.Command("go", "env", "CC").Output()
	if err != nil {
		t.Fatal(err)
	}
	compiler, err := exec.LookPath(strings.TrimSpace(string(cc)))
	if err != nil {
		lacks(t, "no C compiler: no dynamically linked program is tried")
	}
	program := filepath.Join(root, "resolve")
	if out, err := exec.Command(compiler, "-O1", "-o", program, "testdata/resolve.c", "-ldl").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// A runtime brings this file.
	if err := os.WriteFile(filepath.Join(root, "etc/hosts"), []byte("127.0.0.1 localhost\n192.0.2.7 model-host\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := inside(root, c, "/resolve").CombinedOutput()
	if got := string(out); err != nil || got != "3 192.0.2.7\n" {
		t.Errorf("%q, %v", got, err)
	}
}
