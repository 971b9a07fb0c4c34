package embed

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"remote-client-server/runtime/ref"
)

// tensors writes a safetensors file of float32 tensors whose values follow from their names: 1-D weights 1+0.1u, 1-D
// biases 0.1u, all else 0.5u, u = hash(name, i) in [-1, 1). The same fill was given to the reference classes.
func tensors(t *testing.T, dir string, shapes map[string][]int) {
	t.Helper()
	header, body := map[string]any{}, []byte{}
	for name, shape := range shapes {
		n := 1
		for _, d := range shape {
			n *= d
		}
		h := fnv.New32a()
		h.Write([]byte(name))
		seed, from := h.Sum32(), len(body)
		for i := range n {
			x := seed + uint32(i)*0x9E3779B9
			x = (x ^ x>>16) * 0x85ebca6b
			x = (x ^ x>>13) * 0xc2b2ae35
			x ^= x >> 16
			u := float64(x>>8)/(1<<24)*2 - 1
			v := 0.5 * u
			if len(shape) == 1 && strings.HasSuffix(name, "weight") {
				v = 1 + 0.1*u
			} else if len(shape) == 1 {
				v = 0.1 * u
			}
			body = binary.LittleEndian.AppendUint32(body, math.Float32bits(float32(v)))
		}
		header[name] = map[string]any{"dtype": "F32", "shape": shape, "data_offsets": []int{from, len(body)}}
	}
	head, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	file := binary.LittleEndian.AppendUint64(nil, uint64(len(head)))
	write(t, filepath.Join(dir, "model.safetensors"), append(append(file, head...), body...))
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// words is a tokenizer.json of n words; these tests give ids directly.
func words(n int) []byte {
	v := make(map[string]int, n)
	for i := range n {
		v[fmt.Sprintf("w%d", i)] = i
	}
	raw, _ := json.Marshal(map[string]any{
		"added_tokens": []any{}, "normalizer": nil, "pre_tokenizer": map[string]any{"type": "WhitespaceSplit"}, "post_processor": nil, "decoder": nil,
		"model": map[string]any{"type": "WordLevel", "vocab": v, "unk_token": "w0"},
	})
	return raw
}

// layers repeats shapes below a numbered prefix.
func layers(shapes map[string][]int, n int, prefix string, layer map[string][]int) map[string][]int {
	for i := range n {
		for name, s := range layer {
			shapes[fmt.Sprintf(prefix, i)+name] = s
		}
	}
	return shapes
}

// affine adds a weight and a bias for each name.
func affine(shapes map[string][]int, out, in int, names ...string) map[string][]int {
	for _, n := range names {
		shapes[n+".bias"] = []int{out}
		if shapes[n+".weight"] = []int{out, in}; in == 0 {
			shapes[n+".weight"] = []int{out}
		}
	}
	return shapes
}

// The expected values were computed with the reference classes of transformers, and for NomicBert with the original
// module of nomic-ai/contrastors; tolerance 2e-4.
func TestGoldenNetworks(t *testing.T) {
	const h = 32
	bertLayer := affine(affine(affine(affine(map[string][]int{}, h, h, "attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"),
		h, 0, "attention.output.LayerNorm", "output.LayerNorm"), 64, h, "intermediate.dense"), h, 64, "output.dense")
	mpnetLayer := affine(affine(affine(affine(map[string][]int{}, h, h, "attention.attn.q", "attention.attn.k", "attention.attn.v", "attention.attn.o"),
		h, 0, "attention.LayerNorm", "output.LayerNorm"), 64, h, "intermediate.dense"), h, 64, "output.dense")
	nomic := layers(affine(map[string][]int{"embeddings.word_embeddings.weight": {128, h}, "embeddings.token_type_embeddings.weight": {2, h}}, h, 0, "emb_ln"), 2, "encoder.layers.%d.",
		affine(map[string][]int{"attn.Wqkv.weight": {3 * h, h}, "attn.out_proj.weight": {h, h}, "mlp.fc11.weight": {256, h}, "mlp.fc12.weight": {256, h}, "mlp.fc2.weight": {h, 256}}, h, 0, "norm1", "norm2"))
	modern := layers(map[string][]int{"embeddings.tok_embeddings.weight": {50, h}, "embeddings.norm.weight": {h}, "final_norm.weight": {h}}, 4, "layers.%d.",
		map[string][]int{"attn_norm.weight": {h}, "attn.Wqkv.weight": {3 * h, h}, "attn.Wo.weight": {h, h}, "mlp_norm.weight": {h}, "mlp.Wi.weight": {96, h}, "mlp.Wo.weight": {h, 48}})
	delete(modern, "layers.0.attn_norm.weight")
	nomicConfig := `{"model_type":"nomic_bert","vocab_size":100,"pad_vocab_size_multiple":64,"n_embd":32,"n_head":4,"n_inner":64,"n_layer":2,"n_positions":64,
		"layer_norm_epsilon":1e-12,"rotary_emb_fraction":1.0,"rotary_emb_base":1000,"activation_function":"swiglu","qkv_proj_bias":false,"mlp_fc1_bias":false,"mlp_fc2_bias":false%s}`
	var sweep []int32
	for i := range int32(12) {
		sweep = append(sweep, (7*i+3)%128)
	}
	for _, g := range []struct {
		name, config string
		shapes       map[string][]int
		ids          []int32
		want         string // the mean's first values
	}{
		{"NomicBert", fmt.Sprintf(nomicConfig, ""), nomic, []int32{101, 7, 19, 55, 102}, "-0.625747 0.478746 -0.069721 0.408951 1.225674 0.479227"},
		{"NomicBert, second row", fmt.Sprintf(nomicConfig, ""), nomic, []int32{101, 3, 99, 12, 64, 33, 102}, "-1.281182 -0.654522 -0.349087 -0.521858 1.873470 -0.015254"},
		{"NomicBert, longer than trained", fmt.Sprintf(nomicConfig, ""), nomic, sweep, "-0.885888 -0.234250 -0.068432 0.595510 1.745489 -0.210765"},
		{"NomicBert, dynamic NTK", fmt.Sprintf(nomicConfig, `,"rotary_scaling_factor":2,"max_trained_positions":8`), nomic, sweep, "-0.824214 -0.376699 -0.101971 0.488527 1.742705 -0.183025"},
		{"BERT", `{"model_type":"bert","vocab_size":50,"hidden_size":32,"num_attention_heads":4,"intermediate_size":64,"num_hidden_layers":2,"max_position_embeddings":16}`,
			layers(affine(map[string][]int{"embeddings.word_embeddings.weight": {50, h}, "embeddings.position_embeddings.weight": {16, h}, "embeddings.token_type_embeddings.weight": {2, h}}, h, 0, "embeddings.LayerNorm"), 2, "encoder.layer.%d.", bertLayer),
			[]int32{1, 7, 19, 33, 2}, "-0.47457 -0.58289 -0.53160 -0.75813 -0.43441 -2.22693"},
		{"MPNet", `{"model_type":"mpnet","vocab_size":50,"hidden_size":32,"num_attention_heads":4,"intermediate_size":64,"num_hidden_layers":2,"max_position_embeddings":40,"layer_norm_eps":1e-5}`,
			layers(affine(map[string][]int{"embeddings.word_embeddings.weight": {50, h}, "embeddings.position_embeddings.weight": {40, h}, "encoder.relative_attention_bias.weight": {32, 4}}, h, 0, "embeddings.LayerNorm"), 2, "encoder.layer.%d.", mpnetLayer),
			[]int32{0, 7, 19, 33, 2}, "0.78472 0.30495 -0.21487 -2.22289 0.63362 0.05751"},
		{"ModernBERT", `{"model_type":"modernbert","vocab_size":50,"hidden_size":32,"num_attention_heads":4,"intermediate_size":48,"num_hidden_layers":4,"local_attention":4,"global_rope_theta":160000,"local_rope_theta":10000,"norm_eps":1e-5}`,
			modern, []int32{1, 7, 19, 33, 12, 44, 5, 2}, "0.55283 -0.41595 0.40209 -0.37811 -0.21427 -0.28180"},
	} {
		t.Run(g.name, func(t *testing.T) {
			dir := t.TempDir()
			tensors(t, dir, g.shapes)
			write(t, filepath.Join(dir, "config.json"), []byte(g.config))
			write(t, filepath.Join(dir, "tokenizer.json"), words(50))
			m := open(t, ref.New(), dir, LoadOptions{})
			text, err := m.Check(g.ids)
			if err != nil {
				t.Fatal(err)
			}
			v, err := m.Run(context.Background(), []Text{text, {IDs: []int32{1, 2, 3}}}, Options{Raw: true})
			if err != nil {
				t.Fatal(err)
			}
			for i, s := range strings.Fields(g.want) {
				var want float64
				fmt.Sscan(s, &want)
				if math.Abs(float64(v[0][i])-want) > 2e-4 {
					t.Errorf("value %d is %v, want %v", i, v[0][i], want)
				}
			}
		})
	}
}

// nomic's shortened vectors: mean, layer norm without weights, cut, unit length. From the reference class of nomic's
// BiEncoder on the golden network.
func TestNomicMatryoshka(t *testing.T) {
	dir := t.TempDir()
	const h = 32
	tensors(t, dir, layers(affine(map[string][]int{"embeddings.word_embeddings.weight": {128, h}, "embeddings.token_type_embeddings.weight": {2, h}}, h, 0, "emb_ln"), 2, "encoder.layers.%d.",
		affine(map[string][]int{"attn.Wqkv.weight": {3 * h, h}, "attn.out_proj.weight": {h, h}, "mlp.fc11.weight": {256, h}, "mlp.fc12.weight": {256, h}, "mlp.fc2.weight": {h, 256}}, h, 0, "norm1", "norm2")))
	write(t, filepath.Join(dir, "config.json"), []byte(`{"model_type":"nomic_bert","vocab_size":128,"n_embd":32,"n_head":4,"n_layer":2,"n_positions":64,"layer_norm_epsilon":1e-12,
		"rotary_emb_fraction":1,"rotary_emb_base":1000,"activation_function":"swiglu"}`))
	write(t, filepath.Join(dir, "tokenizer.json"), words(50))
	m := open(t, ref.New(), dir, LoadOptions{})
	texts := []Text{{IDs: []int32{101, 7, 19, 55, 102}}, {IDs: []int32{101, 3, 99, 12, 64, 33, 102}}}
	for _, g := range []struct {
		dimensions int
		want       [2][]float64
	}{
		{0, [2][]float64{{-0.155591, 0.119040, -0.017336, 0.101685, 0.304762, 0.119159}, nil}},
		{16, [2][]float64{{-0.214932, 0.157373, -0.027506, 0.133846, 0.409148, 0.157535}, {-0.340140, -0.173073, -0.091644, -0.137704, 0.500890, -0.002644}}},
	} {
		v, err := m.Run(context.Background(), texts, Options{Dimensions: g.dimensions})
		if err != nil {
			t.Fatal(err)
		}
		for r, want := range g.want {
			for i, w := range want {
				if math.Abs(float64(v[r][i])-w) > 2e-5 {
					t.Errorf("dimensions %d, row %d, value %d is %v, want %v", g.dimensions, r, i, v[r][i], w)
				}
			}
		}
	}
}
