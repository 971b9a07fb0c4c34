//go:build linux && (amd64 || arm64) && !nocuda

package driver

import (
	"fmt"
	"strings"

	"github.com/ebitengine/purego"
)

// cudaLibraries are where the driver's library may be: by the loader's rules, where WSL and Kubernetes on Google's nodes
// put it, and by the name that only development packages install.
var cudaLibraries = []string{
	"libcuda.so.1", "/usr/lib/wsl/lib/libcuda.so.1", "/usr/local/nvidia/lib64/libcuda.so.1", "libcuda.so",
}

// openLibrary opens the first of names that there is. Libraries stay open: what they started cannot be stopped.
func openLibrary(names []string) (handle uintptr, name string, err error) {
	var tried []string
	for _, n := range names {
		h, err := purego.Dlopen(n, purego.RTLD_NOW|purego.RTLD_LOCAL)
		if err == nil {
			return h, n, nil
		}
		tried = append(tried, err.Error())
	}
	if len(tried) == 0 {
		return 0, "", fmt.Errorf("no name to look for")
	}
	// A library that is there and cannot be opened says more than those that are not.
	for _, t := range tried {
		if !strings.Contains(t, "No such file") {
			return 0, "", fmt.Errorf("%s", t)
		}
	}
	return 0, "", fmt.Errorf("%s", tried[0])
}

// symbol is one function of the driver. Where its arguments changed in time, the driver has several under one name, and
// version, the CUDA release that brought those bound here, tells which.
type symbol struct {
	name     string // as cuGetProcAddress knows it
	version  int
	export   string // as dlsym knows it
	fn       any    // *func(...) int32 to bind or *uintptr for the address
	optional bool
}

// resolver finds symbols: by cuGetProcAddress_v2 where the driver has it, which also finds what the library does not
// export, else by dlsym.
type resolver struct {
	handle  uintptr
	getProc func(symbol string, fn *uintptr, version int32, flags uint64, status *int32) int32
}

func newResolver(handle uintptr) *resolver {
	r := &resolver{handle: handle}
	if addr, err := purego.Dlsym(handle, "cuGetProcAddress_v2"); err == nil {
		purego.RegisterFunc(&r.getProc, addr)
	}
	return r
}

func (r *resolver) find(s *symbol) uintptr {
	if r.getProc != nil {
		var fn uintptr
		var status int32
		if r.getProc(s.name, &fn, int32(s.version), 0, &status) == 0 && fn != 0 {
			return fn
		}
	}
	addr, err := purego.Dlsym(r.handle, s.export)
	if err != nil {
		return 0
	}
	return addr
}

// bind fills in every symbol, and returns the names of those that are needed and missing.
func (r *resolver) bind(table []symbol) (missing []string) {
	for i := range table {
		s := &table[i]
		addr := r.find(s)
		if addr == 0 {
			if !s.optional {
				missing = append(missing, s.export)
			}
			continue
		}
		if p, ok := s.fn.(*uintptr); ok {
			*p = addr
		} else {
			purego.RegisterFunc(s.fn, addr)
		}
	}
	return missing
}
