package kernels

import "slices"

// Build is one compilation: a module for a target.
type Build struct {
	Module string
	Target Target
	Source string // file of src
	PTX    int    // version of the language, ten times major and minor: the lowest that has what the source asks for
}

// versions are the PTX versions of the targets, those of modules that need a later one, by target and module. A driver
// that is older than a version cannot compile it: 6.5 needs R440, 7.0 R450, 7.4 R470, 8.0 R525.
var versions = map[string]int{
	"sm_75": 65, "sm_80": 70, "sm_90a": 80,
	"sm_75/gemv": 74, "sm_80/gemv": 74, // ld.global.nc.L1::no_allocate
}

// Builds are all compilations, in the order of the launch table: each module that has kernels for a target is built for it.
func Builds() []Build {
	var all []Build
	for _, k := range All() {
		for _, t := range k.Targets {
			v, ok := versions[string(t)+"/"+k.Module]
			if !ok {
				v = versions[string(t)]
			}
			b := Build{k.Module, t, k.Module + ".cu", v}
			if !slices.Contains(all, b) {
				all = append(all, b)
			}
		}
	}
	return all
}

// CubinTargets are the GPUs for which cubins are made beside the PTX, and the targets whose PTX they are made of, the
// best first. A module has the cubin of the first that it is built for.
var CubinTargets = []struct {
	GPU Target
	Of  []Target
}{
	{"sm_75", []Target{SM75}},
	{"sm_80", []Target{SM80}},
	{"sm_86", []Target{SM80}},
	{"sm_90a", []Target{SM90A, SM80}},
}
