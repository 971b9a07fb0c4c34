package main

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"

	"remote-client-server/kernels"
)

const ptxasVersion = "12.9.86"

//go:embed requirements.txt
var requirements []byte

// errNoPtxas is a machine without NVIDIA's assembler.
var errNoPtxas = errors.New("ptxas " + ptxasVersion + " is not there")

// tools are NVIDIA's programs, unpacked from their packages.
type tools struct{ ptxas, nvdisasm string }

// toolsFolder is where the packages are unpacked, under the user's cache folder.
func toolsFolder() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(cache, "remote-client-server", "nvidia-"+ptxasVersion), nil
}

// findTools looks for what installTools has installed.
func findTools() (*tools, error) {
	folder, err := toolsFolder()
	if err != nil {
		return nil, err
	}
	t := &tools{filepath.Join(folder, "nvidia/cuda_nvcc/bin/ptxas"), filepath.Join(folder, "nvidia/cu13/bin/nvdisasm")}
	out, err := exec.Command(t.ptxas, "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("%w: go run ./kernels/build -install", errNoPtxas)
	}
	if !strings.Contains(string(out), "V"+ptxasVersion) {
		return nil, fmt.Errorf("%w: %s is another version", errNoPtxas, t.ptxas)
	}
	if _, err := exec.LookPath(t.nvdisasm); err != nil {
		t.nvdisasm = ""
	}
	return t, nil
}

// installTools fetches NVIDIA's packages from PyPI, the files whose hashes requirements.txt has, and puts them into the
// cache folder in one step.
func installTools() error {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return fmt.Errorf("%w: the pinned package is for Linux on x86-64", errNoPtxas)
	}
	folder, err := toolsFolder()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(folder), 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(folder), "new")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	list := filepath.Join(tmp, "requirements.txt")
	if err := os.WriteFile(list, requirements, 0o644); err != nil {
		return err
	}
	venv, packages := filepath.Join(tmp, "venv"), filepath.Join(tmp, "packages")
	for _, c := range []*exec.Cmd{
		exec.Command("python3", "-m", "venv", venv),
		exec.Command(filepath.Join(venv, "bin", "pip"), "install", "-q", "--disable-pip-version-check", "--no-deps", "--require-hashes", "--target", packages, "-r", list),
	} {
		if out, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s: %w\n%s", errNoPtxas, strings.Join(c.Args, " "), err, bytes.TrimSpace(out))
		}
	}
	if err := os.RemoveAll(folder); err != nil {
		return err
	}
	return os.Rename(packages, folder)
}

// Assembled is what ptxas made of one kernel.
type Assembled struct {
	Kernel     *kernels.Kernel
	GPU        kernels.Target
	Registers  int
	Shared     int // static, bytes
	Stack      int // bytes
	Spills     int // bytes stored and loaded
	Complaints []string
	Code       *Code // nil without nvdisasm
}

var (
	entryLine    = regexp.MustCompile(`Compiling entry function '(\S+)'`)
	spillLine    = regexp.MustCompile(`(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads`)
	registerLine = regexp.MustCompile(`Used (\d+) registers`)
	sharedPart   = regexp.MustCompile(`(\d+) bytes smem`)
	// Besides warnings and errors, ptxas says as information that it serialised wgmma, put in a wait of its own, or took
	// no notice of setmaxnreg.
	complaintLine = regexp.MustCompile(`(?i)warning|error|fatal|serializ|injected|setmaxnreg|performance loss`)
)

// assemble makes a cubin of PTX text, and says how. An entry that is not in the launch table is an error.
func (t *tools) assemble(ptx []byte, gpu kernels.Target) (cubin []byte, made []*Assembled, err error) {
	tmp, err := os.MkdirTemp("", "cubin")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(tmp)
	in, out := filepath.Join(tmp, "in.ptx"), filepath.Join(tmp, "out.cubin")
	if err := os.WriteFile(in, ptx, 0o644); err != nil {
		return nil, nil, err
	}
	text, err := exec.Command(t.ptxas, "-v", "-arch="+string(gpu), in, "-o", out).CombinedOutput()
	if err != nil {
		return nil, nil, fmt.Errorf("ptxas -arch=%s: %w\n%s", gpu, err, bytes.TrimSpace(text))
	}
	if made, err = read(string(text), gpu); err != nil {
		return nil, nil, err
	}
	if cubin, err = os.ReadFile(out); err != nil {
		return nil, nil, err
	}
	if t.nvdisasm != "" {
		code, err := t.disassemble(out)
		if err != nil {
			return nil, nil, err
		}
		for _, a := range made {
			a.Code = code[a.Kernel.Name]
		}
	}
	return cubin, made, nil
}

// read understands what ptxas -v prints.
func read(text string, gpu kernels.Target) ([]*Assembled, error) {
	var made []*Assembled
	var all []string // complaints that name no kernel are every kernel's
	for _, line := range strings.Split(text, "\n") {
		if m := entryLine.FindStringSubmatch(line); m != nil {
			k := named(m[1])
			if k == nil {
				return nil, fmt.Errorf("%s: entry %s is not in the launch table", gpu, m[1])
			}
			made = append(made, &Assembled{Kernel: k, GPU: gpu})
			continue
		}
		if complaintLine.MatchString(line) {
			owner := false
			for _, a := range made {
				if strings.Contains(line, "'"+a.Kernel.Name+"'") {
					a.Complaints = append(a.Complaints, strings.TrimSpace(line))
					owner = true
				}
			}
			if !owner {
				all = append(all, strings.TrimSpace(line))
			}
			continue
		}
		if len(made) == 0 {
			continue
		}
		a := made[len(made)-1]
		if m := spillLine.FindStringSubmatch(line); m != nil {
			a.Stack, a.Spills = number(m[1]), number(m[2])+number(m[3])
		} else if m := registerLine.FindStringSubmatch(line); m != nil {
			a.Registers = number(m[1])
			if m := sharedPart.FindStringSubmatch(line); m != nil {
				a.Shared = number(m[1])
			}
		}
	}
	for _, a := range made {
		a.Complaints = append(a.Complaints, all...)
	}
	return made, nil
}

// number reads digits; more than any tool means become the largest that sums and products still hold.
func number(digits string) int {
	n, _ := strconv.Atoi(digits)
	return min(n, 1<<30)
}

// named is the kernel of that name, nil where there is none.
func named(name string) *kernels.Kernel {
	for _, k := range kernels.All() {
		if k.Name == name {
			return k
		}
	}
	return nil
}
