package kernels

import (
	"bytes"
	"compress/gzip"
	"embed"
	"fmt"
	"io"
)

// Both folders are written by kernels/build.
//
//go:generate go run ./build
//go:embed ptx/*/*.ptx cubin/*/*.cubin.gz
var files embed.FS

// Image is a module in one form.
type Image struct {
	Target Target // that it was built for; a cubin's may be another than those of the launch table, such as sm_86
	Cubin  bool   // for that GPU and those of the same major and a higher minor number; else PTX text
	Data   []byte
}

// TargetOf is the target whose kernels a GPU of that compute capability has. Hopper has those of sm_80 too.
func TargetOf(capability int) Target {
	switch {
	case capability == 90:
		return SM90A
	case capability >= 80:
		return SM80
	}
	return SM75
}

// Images are a module's, in the order in which a GPU of that compute capability should be given them: a cubin, which
// needs no compiler, then PTX, the best first. There are none where the module has nothing for that GPU.
func Images(module string, capability int) []Image {
	var all []Image
	for _, t := range cubinsFor(capability) {
		if b, err := files.ReadFile(CubinPath(module, t)); err == nil {
			cubin, err := unzip(b)
			if err != nil {
				panic(fmt.Sprintf("kernels: %s: %v", CubinPath(module, t), err)) // the build is broken
			}
			all = append(all, Image{t, true, cubin})
		}
	}
	for _, t := range []Target{SM90A, SM80, SM75} {
		if !RunsOn(t, capability) {
			continue
		}
		if b, err := files.ReadFile(PTXPath(module, t)); err == nil {
			all = append(all, Image{t, false, b})
		}
	}
	return all
}

// cubinsFor are the GPUs whose cubins run on a capability, the nearest first.
func cubinsFor(capability int) []Target {
	switch {
	case capability == 90:
		return []Target{"sm_90a"}
	case capability >= 86 && capability < 90:
		return []Target{"sm_86", "sm_80"}
	case capability >= 80 && capability < 86:
		return []Target{"sm_80"}
	case capability >= 75 && capability < 80:
		return []Target{"sm_75"}
	}
	return nil
}

// RunsOn reports whether a GPU of that compute capability runs PTX of a target: Hopper's alone on Hopper, any other on
// every later GPU.
func RunsOn(t Target, capability int) bool {
	switch t {
	case SM90A:
		return capability == 90
	case SM80:
		return capability >= 80
	}
	return capability >= 75
}

// PTXPath and CubinPath are where a build's results lie in this folder.
func PTXPath(module string, t Target) string { return "ptx/" + string(t) + "/" + module + ".ptx" }

// CubinPath is the place of a module's cubin, compressed by gzip.
func CubinPath(module string, t Target) string {
	return "cubin/" + string(t) + "/" + module + ".cubin.gz"
}

func unzip(b []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}
