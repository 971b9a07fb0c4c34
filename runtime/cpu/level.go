package cpu

import (
	"fmt"
	"os"
	"strings"
)

// level is an instruction set with its kernels and the shape of its register tile: rows x columns of float32.
type level struct {
	name          string
	detail        string // for people
	lanes         int    // of a vector
	rows, columns int
	kernels
}

// LevelVariable is the environment variable that picks a level below the best, so that one machine tests them all.
const LevelVariable = "RCS_CPU_LEVEL"

// Levels names the levels that this machine runs, best first. The last is always "generic".
func Levels() []string {
	var names []string
	for _, l := range levels() {
		names = append(names, l.name)
	}
	return names
}

// Best is the highest level that there is for this architecture, on a processor that has all its instructions.
func Best() string { return bestLevel }

func levels() []*level {
	return append(nativeLevels(), &level{
		name: "generic", detail: "portable", lanes: genericLanes, rows: genericRows, columns: genericColumns, kernels: genericKernels(),
	})
}

// pickLevel is the named level; "" means the environment's, else the best.
func pickLevel(name string) (*level, error) {
	if name == "" {
		name = os.Getenv(LevelVariable)
	}
	all := levels()
	if name == "" {
		return all[0], nil
	}
	for _, l := range all {
		if l.name == name {
			return l, nil
		}
	}
	return nil, fmt.Errorf("cpu level %q: this machine has %s", name, strings.Join(Levels(), ", "))
}
