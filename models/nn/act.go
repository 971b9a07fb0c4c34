package nn

import (
	"maps"
	"slices"

	"remote-client-server/models/repo"
	"remote-client-server/runtime"
)

// activations are the names that config.json files use (transformers/activations.py).
var activations = map[string]runtime.Act{
	"gelu": runtime.GELU, "gelu_python": runtime.GELU,
	"gelu_new": runtime.GELUTanh, "gelu_fast": runtime.GELUTanh, "gelu_pytorch_tanh": runtime.GELUTanh, "gelu_accurate": runtime.GELUTanh,
	"quick_gelu": runtime.QuickGELU,
	"relu":       runtime.ReLU,
	"silu":       runtime.SiLU, "swish": runtime.SiLU,
	"sigmoid": runtime.Sigmoid,
	"tanh":    runtime.Tanh,
	"linear":  runtime.None,
}

// Activation reads the activation that a config.json names under one of the keys.
func Activation(c *repo.Config, def string, keys ...string) runtime.Act {
	return activations[c.Choice(def, slices.Sorted(maps.Keys(activations)), keys...)]
}
