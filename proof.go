package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// proof is what the device is, whether it computes what the reference library
// does, and how much of what it can do the model takes.
func (c *config) proof(ctx context.Context, l *loaded) ([]fact, error) {
	d := l.device
	var facts []fact
	if d.gpu != nil {
		facts = append(facts, d.driverFacts()...)
	}
	own, err := l.model.proof(ctx, c, d)
	facts = append(facts, own...)
	if d.gpu != nil {
		facts = append(facts, fact{"kernels", strings.Join(slices.Sorted(maps.Keys(d.gpu.Launches())), " ")})
	}
	return facts, err
}

// driverFacts name the GPU and its driver.
func (d *device) driverFacts() []fact {
	p := d.owner.Properties()
	s, _ := d.owner.Status(nil, d.count, 0) // what cannot be read stays empty
	version := "CUDA " + s.CUDAVersion
	if d.monitor != nil {
		version = d.monitor.DriverVersion() + ", " + version
	}
	return []fact{
		{"gpu", fmt.Sprintf("%s, %d multiprocessors, %s", p.Name, p.Multiprocessors, bytesText(p.TotalBytes))},
		{"capability", fmt.Sprintf("%d.%d", p.Major, p.Minor)}, {"driver", version},
	}
}

// weightBytes is what one weight takes, its part of a block's scale included.
var weightBytes = map[string]float64{"float32": 4, "bfloat16": 2, "float16": 2, "q8": 34. / 32, "q4": 18. / 32}

// rate writes a measured rate, and its share of what the device promises where
// that is known.
func rate(v, unit float64, name string, promised float64) string {
	if promised <= 0 {
		return fmt.Sprintf("%.1f %s measured", v/unit, name)
	}
	return fmt.Sprintf("%.1f %s measured, %.0f %% of the nominal %.0f", v/unit, name, 100*v/promised, promised/unit)
}
