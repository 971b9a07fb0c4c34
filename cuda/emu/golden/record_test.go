//go:build gpu

package golden

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"testing"

	"remote-client-server/cuda"
	"remote-client-server/cuda/driver"
)

var record = flag.Bool("record", false, "write the GPU's answers to testdata")

// TestGPU asks the GPU of number RCS_GPU, or the first, compares what it answers with the ISA and the emulator, and with
// -record keeps it, also where the comparison fails: then it is the emulator or a bound that is to be mended.
func TestGPU(t *testing.T) {
	r, err := ask(t, Vectors())
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case *record && t.Failed():
		t.Error("nothing is recorded, as some vectors have no answer")
	case *record:
		if err := r.Write(Path(r.Capability)); err != nil {
			t.Error(err)
		} else {
			t.Logf("%d answers are in %s", len(r.Answers), Path(r.Capability))
		}
	}
	compareAll(t, r, Vectors(), true) // ask has reported those that are missing
}

// ask runs the vectors on the GPU, all on this goroutine, which owns it. One that fails is an error of the test; one that
// loses the context ends the questions.
func ask(t *testing.T, vectors []Vector) (*Recording, error) {
	ordinal := 0
	if s := os.Getenv("RCS_GPU"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			return nil, fmt.Errorf("RCS_GPU=%q: want a GPU's number", s)
		}
		ordinal = n
	}
	c, err := driver.OpenHere(ordinal, driver.Options{})
	if err != nil {
		return nil, err
	}
	p := c.Properties()
	r := &Recording{GPU: p.Name, Driver: driverName(p), Capability: p.Capability()}
	t.Logf("%s, compute capability %d.%d, driver %s", r.GPU, p.Major, p.Minor, r.Driver)
	for _, v := range vectors {
		if !v.RunsOn(r.Capability) {
			continue
		}
		out, err := Run(c, &v)
		if err != nil {
			t.Error(err)
			if c.Err() != nil {
				break
			}
			continue
		}
		r.Answers = append(r.Answers, Answer{v.Name, v.Digest(), out})
	}
	if err := c.Close(); err != nil && !t.Failed() {
		t.Error(err)
	}
	return r, nil
}

// driverName is the driver's own version where NVML is there to tell, and the CUDA version that it supports.
func driverName(p *cuda.Properties) string {
	name := fmt.Sprintf("CUDA %d.%d", p.DriverVersion/1000, p.DriverVersion%1000/10)
	n, err := driver.OpenNVML(nil)
	if err != nil {
		return name
	}
	defer n.Close()
	return n.DriverVersion() + ", " + name
}
