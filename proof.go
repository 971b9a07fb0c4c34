package main

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"remote-client-server/models/builtin"
	"remote-client-server/models/embed"
	"remote-client-server/runtime/cpu"
)

// proof is what the device is, whether it computes what the reference library
// does, and how much of what it can do the model takes.
func (c *config) proof(ctx context.Context, l *loaded) ([]fact, error) {
	d := l.device
	var facts []fact
	if d.gpu != nil {
		facts = append(facts, d.driverFacts()...)
	}
	parity, err := c.parity(ctx, d)
	facts = append(facts, fact{"parity", parity})
	if err != nil {
		return facts, err
	}
	used, err := l.share(ctx)
	facts = append(facts, used...)
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

// How far a vector may be from the reference library's in float32, as a cosine:
// exact types differ in the order of sums, 16-bit and quantised ones round.
var parityLimits = map[string]float64{"float32": 0.99999, "bfloat16": 0.999, "float16": 0.999, "q8": 0.995, "q4": 0.9}

// parity runs the built-in model on the device, in the type that was asked for,
// and compares its vectors with those of the reference library.
func (c *config) parity(ctx context.Context, d *device) (string, error) {
	m, err := embed.Builtin(d, embed.LoadOptions{DType: c.dtype})
	if err != nil {
		return "not computed", err
	}
	defer m.Close()
	references, err := builtin.EmbedReferences()
	if err != nil {
		return "not computed", err
	}
	least := 1.0
	for _, r := range references {
		t, err := m.Encode(r.Text, "", nil)
		if err != nil {
			return "not computed", err
		}
		v, err := m.Run(ctx, []embed.Text{t}, embed.Options{})
		if err != nil {
			return "not computed", err
		}
		dot := 0.0
		for i, x := range r.Vector {
			dot += float64(x) * float64(v[0][i])
		}
		if math.IsNaN(dot) {
			dot = -1
		}
		least = min(least, dot)
	}
	dtype := m.Info().DType
	text := fmt.Sprintf("cosine >= %.6f with sentence-transformers, %d texts, built-in model in %s", least, len(references), dtype)
	if least < parityLimits[dtype] {
		return text, fmt.Errorf("this device computes wrong values: the cosine with the reference's vectors is %.6f, %.6f is wanted in %s", least, parityLimits[dtype], dtype)
	}
	return text, nil
}

// weightBytes is what one weight takes, its part of a block's scale included.
var weightBytes = map[string]float64{"float32": 4, "bfloat16": 2, "float16": 2, "q8": 34. / 32, "q4": 18. / 32}

// share runs a full batch and says how much of the measured peaks it takes.
func (l *loaded) share(ctx context.Context) ([]fact, error) {
	i := l.model.Info()
	tokens := min(512, i.MaxTokens)
	texts := max(1, l.device.Props().BatchTokens/tokens)
	products, moved := 0.0, 0.0 // operations and bytes a second
	var facts []fact
	switch {
	case l.device.gpu != nil:
		p, err := l.device.gpu.Peak(i.DType)
		if err != nil {
			return nil, err
		}
		if strings.HasPrefix(i.Device, emulatedPrefix) {
			tokens, texts = min(tokens, 16), 1 // emulated: the time means nothing
		}
		products, moved = p.Product, p.Copy
		facts = append(facts, fact{"copies", rate(p.Copy, 1e9, "GB/s", p.Bandwidth)}, fact{"products", rate(p.Product, 1e12, "TFLOP/s", p.Arithmetic)})
	default:
		p := l.device.Backend.(*cpu.Backend).Peak()
		products, moved = p.FMA, p.Read
		if i.DType == "bfloat16" && p.BF16 > 0 {
			products = p.BF16
		}
		facts = append(facts, fact{"reads", rate(moved, 1e9, "GB/s", 0)}, fact{"arithmetic", rate(products, 1e9, "GFLOP/s", 0)})
	}
	many, err := best(ctx, l.model, texts, tokens)
	if err != nil {
		return facts, err
	}
	one, err := best(ctx, l.model, 1, min(8, tokens))
	if err != nil {
		return facts, err
	}
	flops := 2 * float64(i.Products) * float64(texts*tokens) / many.Seconds()
	bytes := float64(i.Products) * weightBytes[i.DType] / one.Seconds()
	cached := ""
	if bytes > moved {
		cached = ": they lie in a cache"
	}
	return append(facts,
		fact{"a full batch", fmt.Sprintf("%d x %d tokens in %s: %.0f tokens/s, %.0f %% of the arithmetic peak", texts, tokens, many.Round(time.Microsecond), float64(texts*tokens)/many.Seconds(), 100*flops/products)},
		fact{"a short text", fmt.Sprintf("%s: the products' weights read at %.1f GB/s, %.0f %% of the bandwidth peak%s", one.Round(time.Microsecond), bytes/1e9, 100*bytes/moved, cached)}), nil
}

// best is the shortest of a few runs.
func best(ctx context.Context, m *embed.Model, texts, tokens int) (time.Duration, error) {
	times, err := measure(ctx, m, texts, tokens)
	if err != nil {
		return 0, err
	}
	return slices.Min(times), nil
}

// rate writes a measured rate, and its share of what the device promises where
// that is known.
func rate(v, unit float64, name string, promised float64) string {
	if promised <= 0 {
		return fmt.Sprintf("%.1f %s measured", v/unit, name)
	}
	return fmt.Sprintf("%.1f %s measured, %.0f %% of the nominal %.0f", v/unit, name, 100*v/promised, promised/unit)
}
