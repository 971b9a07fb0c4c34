// Package clang compiles the kernels' sources to PTX with the pinned compiler, which needs nothing of CUDA.
package clang

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"

	"remote-client-server/kernels"
)

// The compiler whose output is committed. Another version makes other text of the same sources.
const (
	Program = "clang++-22"
	Version = "22.1.8"
)

// ErrMissing is a machine without that compiler, ErrVersion one with another version of it.
var (
	ErrMissing = errors.New("the pinned compiler is not there")
	ErrVersion = errors.New("the compiler is another version")
)

// Find looks for the compiler. Its error says how to get it.
func Find() error {
	out, err := exec.Command(Program, "--version").Output()
	if err != nil {
		return fmt.Errorf("%w: %s is not found: apt-get install clang-22 (Debian), version %s", ErrMissing, Program, Version)
	}
	m := regexp.MustCompile(`clang version (\S+)`).FindSubmatch(out)
	if m == nil || string(m[1]) != Version {
		line, _, _ := bytes.Cut(out, []byte("\n"))
		return fmt.Errorf("%w: %s is %q, and the PTX is made by version %s", ErrVersion, Program, line, Version)
	}
	return nil
}

// Compile makes PTX of a build. src is the folder of the sources; it does not show in the text.
//
// -disable-lsr keeps LLVM from giving every address of a loop a register of its own, which costs more registers than an
// SM has. The version is set because clang's default has none of what the kernels use.
func Compile(src string, b kernels.Build) ([]byte, error) {
	tmp, err := os.MkdirTemp("", "ptx")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	out := filepath.Join(tmp, "out.ptx")
	c := exec.Command(Program, "-x", "cuda", "--cuda-device-only", "-nocudainc", "-nocudalib", "-std=c++17", "-O3", "-Wall", "-Werror",
		"-mllvm", "-disable-lsr", "--cuda-gpu-arch="+string(b.Target), fmt.Sprintf("--cuda-feature=+ptx%d", b.PTX), "-S", b.Source, "-o", out)
	c.Dir = src
	if text, err := c.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s for %s: %w\n%s", b.Source, b.Target, err, bytes.TrimSpace(text))
	}
	ptx, err := os.ReadFile(out)
	if err != nil {
		return nil, err
	}
	return tidy(ptx, b)
}

var heavy = regexp.MustCompile(`\.extern \.func|\bcall\b|\.local\b`)

// tidy leaves the comments out, a quarter of the text, and refuses what the kernels must not have: a call, an external
// function or local memory would work, and slowly, or fail only when a driver links it.
func tidy(ptx []byte, b kernels.Build) ([]byte, error) {
	var to bytes.Buffer
	fmt.Fprintf(&to, "// %s for %s\n", b.Source, b.Target)
	for line := range bytes.Lines(ptx) {
		code, _, _ := bytes.Cut(line, []byte("//"))
		if code = bytes.TrimRight(code, " \t\n"); len(code) == 0 {
			continue
		}
		if heavy.Match(code) {
			return nil, fmt.Errorf("%s for %s: the PTX has %q", b.Source, b.Target, bytes.TrimSpace(code))
		}
		to.Write(code)
		to.WriteByte('\n')
	}
	return to.Bytes(), nil
}
