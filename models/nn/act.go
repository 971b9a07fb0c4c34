package nn

import "remote-client-server/runtime"

// Activations are the names that config.json files use (transformers/activations.py).
var Activations = map[string]runtime.Act{
	"gelu": runtime.GELU, "gelu_python": runtime.GELU,
	"gelu_new": runtime.GELUTanh, "gelu_fast": runtime.GELUTanh, "gelu_pytorch_tanh": runtime.GELUTanh, "gelu_accurate": runtime.GELUTanh,
	"quick_gelu": runtime.QuickGELU,
	"relu":       runtime.ReLU,
	"silu":       runtime.SiLU, "swish": runtime.SiLU,
	"sigmoid": runtime.Sigmoid,
	"tanh":    runtime.Tanh,
	"linear":  runtime.None,
}

// ActivationNames are the keys of Activations that are worth listing in an error.
var ActivationNames = []string{
	"gelu", "gelu_python", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "gelu_accurate", "quick_gelu", "relu", "silu", "swish", "sigmoid", "tanh", "linear",
}
