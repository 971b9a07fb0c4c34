package clients

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"remote-client-server/bench/contract/server"
)

// v2Tensor is an input or an output of the Open Inference Protocol.
type v2Tensor struct {
	Name     string `json:"name"`
	Shape    []int  `json:"shape"`
	Datatype string `json:"datatype"`
	Data     []any  `json:"data"`
}

// v2Client asks as SEMOSS does: every field of a payload but "model" is a BYTES
// input, scalars as strings, list elements as they are. Of the headers the
// length is false, and the stream that is accepted is none.
type v2Client struct{ base, model string }

func (c v2Client) infer(payload map[string]any) (map[string]any, error) {
	var inputs []v2Tensor
	for name, value := range payload {
		if name == "model" {
			continue
		}
		data, list := value.([]any)
		if !list {
			data = []any{fmt.Sprint(value)}
		}
		inputs = append(inputs, v2Tensor{name, []int{len(data)}, "BYTES", data})
	}
	res, body, err := post(context.Background(), c.base+"/v2/models/"+c.model+"/infer", map[string]any{"inputs": inputs},
		"Accept: text/event-stream", "Content-Type: application/json", "Inference-Header-Content-Length: 2000")
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != 200 {
		return nil, fmt.Errorf("status %d", res.StatusCode) // the message is lost on this client
	}
	body.Buffer(nil, 64<<20)
	if !body.Scan() {
		return nil, body.Err()
	}
	var answer struct {
		ModelName string `json:"model_name"`
		ID        string
		Outputs   []v2Tensor
	}
	if err := json.Unmarshal(body.Bytes(), &answer); err != nil {
		return nil, err
	}
	read := map[string]any{}
	for _, o := range answer.Outputs {
		if read[o.Name], err = o.read(); err != nil {
			return nil, err
		}
	}
	return read, nil
}

// read makes a value of an output: no data is an empty list, one string in
// braces or brackets is JSON, one other value is itself, several are a list.
func (o v2Tensor) read() (any, error) {
	switch len(o.Data) {
	case 0:
		return []any{}, nil
	case 1:
		s, ok := o.Data[0].(string)
		if ok && (strings.HasPrefix(s, "{") && strings.HasSuffix(s, "}") || strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]")) {
			var v any
			err := json.Unmarshal([]byte(s), &v)
			return v, err
		}
		return o.Data[0], nil
	}
	return o.Data, nil
}

// output asks and reads the one output of an embedding model.
func (c v2Client) output(t *testing.T, payload map[string]any) (shape []int, vectors [][]float64) {
	t.Helper()
	read, err := c.infer(payload)
	if err != nil {
		t.Fatalf("%v: %v", payload, err)
	}
	var o struct {
		Dim        int `json:"embedding_dim"`
		Embeddings [][]float64
		Shape      []int
		Model      string `json:"model_id"`
	}
	b, err := json.Marshal(read["output"])
	if err == nil {
		err = json.Unmarshal(b, &o)
	}
	if err != nil || len(o.Shape) != 2 || o.Dim != o.Shape[1] || len(o.Embeddings) != o.Shape[0] || o.Model == "" {
		t.Fatalf("%v: %v, %.300s", payload, err, b)
	}
	return o.Shape, o.Embeddings
}

func TestV2(t *testing.T) {
	s := server.Start(t, true)
	var list struct{ Models []string }
	if err := json.Unmarshal(s.Do(t, server.Request{Path: "/v2/models"}).Body, &list); err != nil || len(list.Models) != 1 {
		t.Fatal(list, err)
	}
	c := v2Client{s.Base, list.Models[0]}
	for _, path := range []string{"/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/" + c.model, "/v2/models/" + c.model + "/ready"} {
		if a := s.Do(t, server.Request{Path: path}); a.Status != 200 {
			t.Errorf("%s: %d %s", path, a.Status, a.Body)
		}
	}
	for name, x := range map[string]struct {
		payload map[string]any
		shape   []int
	}{
		"one text":                    {map[string]any{"text": "I forgot my password.", "model": "any"}, []int{1, 128}},
		"a list of texts":             {map[string]any{"input": []any{"a", "b", "c"}}, []int{3, 128}},
		"numbers in a list":           {map[string]any{"text": []any{"a", 12, true}}, []int{3, 128}},
		"a number as a string":        {map[string]any{"text": "x", "dimensions": 32}, []int{1, 32}},
		"a boolean as a string":       {map[string]any{"text": "x", "normalize": true}, []int{1, 128}},
		"a text that looks like JSON": {map[string]any{"text": `["a", "b"]`}, []int{1, 128}},
	} {
		if shape, _ := c.output(t, x.payload); !slices.Equal(shape, x.shape) {
			t.Errorf("%s: shape %v, want %v", name, shape, x.shape)
		}
	}
	_, v := c.output(t, map[string]any{"text": []any{"I forgot my password.", "How do I reset my login?", "Fry the onions in butter."}})
	if near, far := cosine(v[0], v[1]), cosine(v[0], v[2]); near < far+0.2 {
		t.Errorf("related sentences at %.2f, unrelated ones at %.2f", near, far)
	}
	upper := v2Client{s.Base, strings.ToUpper(c.model)}
	if _, err := upper.infer(map[string]any{"text": "x"}); err != nil {
		t.Errorf("the model's name in capitals: %v", err)
	}
	for name, x := range map[string]struct {
		client  v2Client
		payload map[string]any
		want    string
	}{
		"another model": {v2Client{s.Base, "nobody"}, map[string]any{"text": "x"}, "status 404"},
		"no text":       {c, map[string]any{"dimensions": 32}, "status 400"},
		"a bad number":  {c, map[string]any{"text": "x", "dimensions": "many"}, "status 400"},
	} {
		if _, err := x.client.infer(x.payload); err == nil || err.Error() != x.want {
			t.Errorf("%s: %v, want %s", name, err, x.want)
		}
	}
}
