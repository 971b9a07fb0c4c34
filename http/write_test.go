package http

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"remote-client-server/models/text"
	"remote-client-server/runtime/cpu"
	"remote-client-server/runtime/queue"
)

// openText starts a house with a tiny random language model of package text.
func openText(t *testing.T, repository string, changes ...change) (*house, *text.Model) {
	t.Helper()
	b, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	m, err := text.Load(b, filepath.Join("../models/text/testdata", repository), text.LoadOptions{CacheBytes: 64 << 20, Sequences: 16})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // after the house is closed
		m.Close()
		b.Close()
	})
	h := closedWith(t, func(q *queue.Queue) {
		if err := m.Serve(q); err != nil {
			t.Error(err)
		}
	}, append([]change{func(o *Options, _ *queue.Options) { o.Type = "text" }}, changes...)...)
	h.Ready(Loaded{Text: m, Tokenizer: m.Tokenizer()})
	return h, m
}

// chatAnswer is an answer of the chat route.
type chatAnswer struct {
	ID, Object, Model string
	Choices           []struct {
		Index   int
		Message struct {
			Role, Content string
			ToolCalls     []struct {
				ID, Type string
				Function struct{ Name, Arguments string }
			} `json:"tool_calls"`
		}
		Delta struct {
			Role, Content string
			ToolCalls     []struct {
				Index    int
				ID       string
				Function struct{ Name, Arguments string }
			} `json:"tool_calls"`
		}
		Text         string
		FinishReason string `json:"finish_reason"`
		Logprobs     *struct {
			Content []struct {
				Token   string
				Logprob float64
				Bytes   []int
				Top     []struct{ Token string } `json:"top_logprobs"`
			}
		}
		TokenIDs []int32 `json:"token_ids"`
	}
	Usage *struct {
		Prompt     int `json:"prompt_tokens"`
		Completion int `json:"completion_tokens"`
		Total      int `json:"total_tokens"`
		Details    struct {
			Cached int `json:"cached_tokens"`
		} `json:"prompt_tokens_details"`
	}
	Warnings []string
	Error    json.RawMessage
}

func (h *house) chat(path, body string) chatAnswer {
	h.t.Helper()
	a := h.post(path, body)
	var c chatAnswer
	if err := json.Unmarshal([]byte(a.body), &c); err != nil || a.status != 200 {
		h.t.Fatalf("%s %.200s: %d %.500s (%v)", path, body, a.status, a.body, err)
	}
	return c
}

// chunks reads a stream: its chunks, and whether it ended with [DONE].
func (h *house) chunks(path, body string) ([]chatAnswer, answer) {
	h.t.Helper()
	a := h.post(path, body)
	var list []chatAnswer
	events := strings.Split(strings.TrimSuffix(a.body, "\n\n"), "\n\n")
	for i, e := range events {
		data, ok := strings.CutPrefix(e, "data: ")
		if !ok {
			h.t.Fatalf("event %q", e)
		}
		if data == "[DONE]" {
			if i != len(events)-1 {
				h.t.Error("[DONE] is not the last event")
			}
			return list, a
		}
		var c chatAnswer
		if err := json.Unmarshal([]byte(data), &c); err != nil {
			h.t.Fatalf("%v: %s", err, data)
		}
		list = append(list, c)
	}
	h.t.Errorf("the stream ends with %q, not [DONE]", events[len(events)-1])
	return list, a
}

const hello = `"messages":[{"role":"user","content":"Hello there"}]`

var chatPaths = []string{"/api/chat/completions", "/v1/chat/completions", "/openai/v1/chat/completions"}

func TestChat(t *testing.T) {
	h, m := openText(t, "qwen3")
	want := h.chat("/v1/chat/completions", `{`+hello+`,"max_tokens":12,"temperature":0,"ignore_eos":true}`)
	for _, path := range chatPaths {
		c := h.chat(path, `{`+hello+`,"max_tokens":12,"temperature":0,"ignore_eos":true,"model":"whatever"}`)
		ids, err := m.Chat(t.Context(), conversation(t, `[{"role":"user","content":"Hello there"}]`))
		if err != nil {
			t.Fatal(err)
		}
		n := c.Choices[0]
		if c.Object != "chat.completion" || !regexp.MustCompile(`^chatcmpl-[0-9a-f]{32}$`).MatchString(c.ID) || c.Model != "whatever" ||
			n.Message.Role != "assistant" || n.Message.Content != want.Choices[0].Message.Content || n.FinishReason != "length" ||
			c.Usage.Prompt != len(ids) || c.Usage.Completion != 12 || c.Usage.Total != len(ids)+12 {
			t.Errorf("%s: %+v, want as %+v with a prompt of %d tokens", path, c, want, len(ids))
		}
		if len(c.Warnings) != 1 {
			t.Errorf("%s: warnings %q", path, c.Warnings)
		}
	}
	h.notes.heard(t, "tokens", func() bool {
		return len(h.notes.written) == 4 && h.notes.written[0][2] == 12 && h.notes.answered == 4
	})
}

// TestChatOptions gives options and what is seen of them.
func TestChatOptions(t *testing.T) {
	h, m := openText(t, "qwen3")
	ask := func(options string) chatAnswer {
		messages := hello + ","
		if strings.Contains(options, "messages") {
			messages = ""
		}
		if !strings.Contains(options, "temperature") {
			messages += `"temperature":0,`
		}
		return h.chat("/v1/chat/completions", `{`+messages+`"ignore_eos":true,`+options+`}`)
	}
	plain := ask(`"max_tokens":20`)
	content := plain.Choices[0].Message.Content
	runes := []rune(content)
	first := ask(`"max_tokens":1,"return_token_ids":true`).Choices[0].TokenIDs[0]
	stop := string(runes[4:7])
	quoted, _ := json.Marshal(stop)
	for _, c := range []struct {
		name, options string
		ok            func(a chatAnswer) bool
	}{
		{"max_completion_tokens", `"max_completion_tokens":20,"max_tokens":3`, func(a chatAnswer) bool { return a.Choices[0].Message.Content == content }},
		{"max_new_tokens", `"max_new_tokens":20`, func(a chatAnswer) bool { return a.Choices[0].Message.Content == content }},
		{"parts of text", `"max_tokens":20,"messages":[{"role":"user","content":[{"type":"text","text":"Hello"},{"type":"text","text":" there"}]}]`, func(a chatAnswer) bool { return a.Choices[0].Message.Content == content }},
		{"stop", `"max_tokens":20,"stop":` + string(quoted), func(a chatAnswer) bool {
			return a.Choices[0].Message.Content == content[:strings.Index(content, stop)] && a.Choices[0].FinishReason == "stop"
		}},
		{"stop in a list, kept", `"max_tokens":20,"include_stop_str_in_output":true,"stop":["never",` + string(quoted) + `]`, func(a chatAnswer) bool {
			return a.Choices[0].Message.Content == content[:strings.Index(content, stop)+len(stop)]
		}},
		{"stop_token_ids", fmt.Sprintf(`"max_tokens":20,"stop_token_ids":[%d]`, first), func(a chatAnswer) bool {
			return a.Choices[0].FinishReason == "stop" && a.Usage.Completion == 1
		}},
		{"logit_bias", fmt.Sprintf(`"max_tokens":1,"return_token_ids":true,"logit_bias":{"%d":-100}`, first), func(a chatAnswer) bool { return a.Choices[0].TokenIDs[0] != first }},
		{"logit_bias that wins", `"max_tokens":2,"return_token_ids":true,"logit_bias":{"7":100}`, func(a chatAnswer) bool {
			return fmt.Sprint(a.Choices[0].TokenIDs) == "[7 7]"
		}},
		{"n", `"max_tokens":8,"n":3,"temperature":1,"seed":5`, func(a chatAnswer) bool {
			return len(a.Choices) == 3 && a.Choices[2].Index == 2 && a.Choices[0].Message.Content != a.Choices[1].Message.Content && a.Usage.Completion == 24
		}},
		{"logprobs", `"max_tokens":3,"logprobs":true,"top_logprobs":4`, func(a chatAnswer) bool {
			l := a.Choices[0].Logprobs
			return l != nil && len(l.Content) == 3 && len(l.Content[0].Top) == 4 && l.Content[0].Token == l.Content[0].Top[0].Token && l.Content[0].Logprob < 0
		}},
		{"no logprobs", `"max_tokens":3`, func(a chatAnswer) bool { return a.Choices[0].Logprobs == nil }},
		{"min_tokens", fmt.Sprintf(`"max_tokens":20,"min_tokens":10,"stop_token_ids":[%d]`, first), func(a chatAnswer) bool { return a.Usage.Completion >= 10 }},
		{"an answer that is gone on with", `"max_tokens":3,"continue_final_message":true,"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"The"}]`, func(a chatAnswer) bool {
			return a.Usage.Completion == 3
		}},
		{"null is absent", `"max_tokens":20,"stop":null,"seed":null,"n":null,"logit_bias":null,"tools":null,"tool_choice":null,"response_format":null,"top_p":null,"stream":null,"logprobs":null,"user":null`,
			func(a chatAnswer) bool { return a.Choices[0].Message.Content == content }},
		{"an unknown field", `"max_tokens":20,"spice":true`, func(a chatAnswer) bool { return len(a.Warnings) == 1 && strings.Contains(a.Warnings[0], "spice") }},
		{"the same prompt again", `"max_tokens":20`, func(a chatAnswer) bool { return a.Choices[0].Message.Content == content }},
	} {
		t.Run(c.name, func(t *testing.T) {
			if a := ask(c.options); !c.ok(a) {
				t.Errorf("%+v", a)
			}
		})
	}
	long := strings.Repeat("word and word ", 12)
	body := fmt.Sprintf(`{"messages":[{"role":"user","content":%q}],"max_tokens":2}`, long)
	h.chat("/v1/chat/completions", body)
	if a := h.chat("/v1/chat/completions", body); a.Usage.Details.Cached < 32 {
		t.Errorf("of %d tokens %d were there", a.Usage.Prompt, a.Usage.Details.Cached)
	}
	_ = m
}

// TestDefaults: what counts where a request says nothing.
func TestDefaults(t *testing.T) {
	h, m := openText(t, "qwen2") // temperature 0.7, top_p 0.8, top_k 20, repetition_penalty 1.05
	if d := m.Defaults(); d.Temperature != 0.7 || d.TopP != 0.8 || d.TopK != 20 || d.Repetition != 1.05 {
		t.Errorf("the repository's: %+v", d)
	}
	seeded := func(path, more string) string {
		return h.chat(path, `{`+hello+`,"max_tokens":24,"seed":3,"ignore_eos":true`+more+`}`).Choices[0].Message.Content
	}
	if a, b := seeded("/v1/chat/completions", ""), seeded("/v1/chat/completions", `,"temperature":0.7,"top_p":0.8,"top_k":20,"repetition_penalty":1.05`); a != b {
		t.Errorf("/v1: %q, said aloud %q", a, b)
	}
	if a, b := seeded("/api/chat/completions", ""), seeded("/v1/chat/completions", `,"temperature":0.2,"top_p":0.2,"top_k":0`); a != b {
		t.Errorf("/api: %q, said aloud %q", a, b)
	}
	if a, b := seeded("/api/chat/completions", `,"temperature":"0.7","top_p":"1"`), seeded("/v1/chat/completions", `,"temperature":0.7,"top_p":1,"top_k":0`); a != b {
		t.Errorf("/api with numbers in strings: %q, want %q", a, b)
	}
}

func TestChatStream(t *testing.T) {
	h, _ := openText(t, "qwen3")
	for _, path := range chatPaths {
		for _, options := range []string{`"seed":1`, `"seed":2,"n":2,"temperature":1`, `"seed":3,"stop":["e"]`, `"seed":4,"logprobs":true,"top_logprobs":1`} {
			whole := h.chat(path, `{`+hello+`,"max_tokens":40,"ignore_eos":true,`+options+`}`)
			list, a := h.chunks(path, `{`+hello+`,"max_tokens":40,"ignore_eos":true,"stream":true,"stream_options":{"include_usage":true},`+options+`}`)
			if !strings.HasPrefix(a.header.Get("Content-Type"), "text/event-stream") || a.header.Get("Cache-Control") != "no-cache" {
				t.Errorf("%s: headers %v", path, a.header)
			}
			text, reasons, roles, logprobs := map[int]string{}, map[int]string{}, map[int]int{}, 0
			for i, c := range list {
				if c.ID != list[0].ID || c.Object != "chat.completion.chunk" {
					t.Errorf("%s: chunk %d has id %s and object %s", path, i, c.ID, c.Object)
				}
				for _, n := range c.Choices {
					text[n.Index] += n.Delta.Content
					if n.Delta.Role != "" {
						roles[n.Index]++
					}
					if n.FinishReason != "" {
						reasons[n.Index] += n.FinishReason
					}
					if n.Logprobs != nil {
						logprobs += len(n.Logprobs.Content)
					}
				}
				if last := i == len(list)-1; last != (c.Usage != nil) || last != (len(c.Choices) == 0) {
					t.Errorf("%s: chunk %d of %d has usage %v", path, i, len(list), c.Usage)
				}
			}
			for i, n := range whole.Choices {
				if text[i] != n.Message.Content || reasons[i] != n.FinishReason || roles[i] != 1 {
					t.Errorf("%s %s: choice %d is %q (%s, %d roles), want %q (%s)", path, options, i, text[i], reasons[i], roles[i], n.Message.Content, n.FinishReason)
				}
			}
			if u := list[len(list)-1].Usage; u == nil || u.Completion != whole.Usage.Completion {
				t.Errorf("%s: usage %+v, want %+v", path, u, whole.Usage)
			}
			if strings.Contains(options, "logprobs") && logprobs != 40 {
				t.Errorf("%s: %d log-probabilities", path, logprobs)
			}
		}
	}
}

func TestCompletions(t *testing.T) {
	h, m := openText(t, "llama")
	one := h.chat("/v1/completions", `{"prompt":"The harbour","max_tokens":9,"temperature":0,"ignore_eos":true}`)
	if one.Object != "text_completion" || !strings.HasPrefix(one.ID, "cmpl-") || one.Usage.Prompt != len(m.Complete("The harbour", true)) {
		t.Errorf("%+v", one)
	}
	ids, _ := json.Marshal(m.Complete("The harbour", true))
	for name, body := range map[string]string{
		"token ids":        `{"prompt":` + string(ids) + `,"max_tokens":9,"temperature":0,"ignore_eos":true}`,
		"a list":           `{"prompt":["The harbour"],"max_tokens":9,"temperature":0,"ignore_eos":true}`,
		"lists of ids":     `{"prompt":[` + string(ids) + `],"max_tokens":9,"temperature":0,"ignore_eos":true}`,
		"best_of one":      `{"prompt":"The harbour","best_of":1,"max_tokens":9,"temperature":0,"ignore_eos":true}`,
		"an empty suffix":  `{"prompt":"The harbour","suffix":"","max_tokens":9,"temperature":0,"ignore_eos":true}`,
		"special by hand":  `{"prompt":"<|begin_of_text|>The harbour","add_special_tokens":false,"max_tokens":9,"temperature":0,"ignore_eos":true}`,
		"another spelling": `{"prompt":"The harb\u006fur","max_tokens":9,"temperature":0.0,"ignore_eos":true}`,
	} {
		if a := h.chat("/v1/completions", body); a.Choices[0].Text != one.Choices[0].Text {
			t.Errorf("%s: %q, want %q", name, a.Choices[0].Text, one.Choices[0].Text)
		}
	}
	two := h.chat("/openai/v1/completions", `{"prompt":["The harbour","A recipe"],"n":2,"echo":true,"max_tokens":9,"temperature":0,"ignore_eos":true}`)
	if len(two.Choices) != 4 || two.Choices[0].Text != "The harbour"+one.Choices[0].Text || !strings.HasPrefix(two.Choices[3].Text, "A recipe") || two.Usage.Completion != 36 {
		t.Errorf("two prompts, twice each: %+v", two)
	}
	if a := h.chat("/v1/completions", `{"prompt":"a","ignore_eos":true}`); a.Usage.Completion != 16 {
		t.Errorf("without max_tokens: %d tokens, OpenAI has 16", a.Usage.Completion)
	}
	list, _ := h.chunks("/v1/completions", `{"prompt":["The harbour","A recipe"],"echo":true,"stream":true,"max_tokens":9,"temperature":0,"ignore_eos":true}`)
	var texts [2]string
	for _, c := range list {
		for _, n := range c.Choices {
			texts[n.Index] += n.Text
		}
	}
	if texts[0] != two.Choices[0].Text || texts[1] != two.Choices[2].Text {
		t.Errorf("streamed %q", texts)
	}
	a := h.post("/v1/completions", `{"prompt":"The harbour","max_tokens":3,"temperature":0,"logprobs":2}`)
	var l struct {
		Choices []struct {
			Text     string
			Logprobs struct {
				Tokens        []string
				TokenLogprobs []float64            `json:"token_logprobs"`
				Top           []map[string]float64 `json:"top_logprobs"`
				Offset        []int                `json:"text_offset"`
			}
		}
	}
	if err := json.Unmarshal([]byte(a.body), &l); err != nil || len(l.Choices[0].Logprobs.Tokens) != 3 || len(l.Choices[0].Logprobs.Top[0]) != 2 || l.Choices[0].Logprobs.Offset[0] != 0 {
		t.Errorf("logprobs: %s", a.body)
	}
}

// TestForms asks a random model for answers of a form.
func TestForms(t *testing.T) {
	h, _ := openText(t, "qwen3")
	schema := `{"type":"object","properties":{"city":{"type":"string"},"size":{"type":"integer"}},"required":["city","size"],"additionalProperties":false}`
	for name, c := range map[string]struct{ field, want string }{
		"an object":         {`"response_format":{"type":"json_object"}`, `(?s)^\s*\{.*\}$`},
		"a schema":          {`"response_format":{"type":"json_schema","json_schema":{"name":"x","strict":true,"schema":` + schema + `}}`, `(?s)^\s*\{.*"city".*"size".*\}$`},
		"guided_json":       {`"guided_json":` + schema, `(?s)^\s*\{.*"city".*"size".*\}$`},
		"guided_json, text": {`"guided_json":` + quote(schema), `(?s)^\s*\{.*"city".*"size".*\}$`},
		"guided_regex":      {`"guided_regex":"[ab]{4}c"`, `^[ab]{4}c$`},
		"guided_choice":     {`"guided_choice":["left","right"]`, `^(left|right)$`},
		"structured":        {`"structured_outputs":{"choice":["up","down"]}`, `^(up|down)$`},
		"plain text":        {`"response_format":{"type":"text"}`, `(?s).`},
	} {
		for seed := range 4 {
			a := h.chat("/v1/chat/completions", fmt.Sprintf(`{%s,"max_tokens":70,"temperature":1.2,"seed":%d,%s}`, hello, seed, c.field))
			content := a.Choices[0].Message.Content
			if !regexp.MustCompile(c.want).MatchString(content) || strings.Contains(c.want, `\{`) && !json.Valid([]byte(content)) {
				t.Errorf("%s, seed %d: %q (%s)", name, seed, content, a.Choices[0].FinishReason)
			}
		}
	}
}

func quote(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

const addTool = `{"type":"function","function":{"name":"add","parameters":{"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"integer"}},"required":["a","b"],"additionalProperties":false}}}`

func TestTools(t *testing.T) {
	h, _ := openText(t, "qwen3")
	now := `{"type":"function","function":{"name":"now"}}`
	for name, choice := range map[string]string{"required": `"required"`, "a named one": `{"type":"function","function":{"name":"add"}}`} {
		body := `{` + hello + `,"tools":[` + addTool + `,` + now + `],"tool_choice":` + choice + `,"max_tokens":200,"temperature":1,"seed":4,"parallel_tool_calls":false`
		a := h.chat("/v1/chat/completions", body+`}`)
		n := a.Choices[0]
		if n.FinishReason != "tool_calls" || len(n.Message.ToolCalls) != 1 || n.Message.Content != "" {
			t.Fatalf("%s: %+v", name, a)
		}
		call := n.Message.ToolCalls[0]
		var arguments map[string]int64
		if !strings.HasPrefix(call.ID, "call_") || call.Type != "function" || json.Unmarshal([]byte(call.Function.Arguments), &arguments) != nil ||
			name != "required" && (call.Function.Name != "add" || len(arguments) != 2) {
			t.Errorf("%s: %+v", name, call)
		}
		list, _ := h.chunks("/v1/chat/completions", body+`,"stream":true}`)
		said, called, reason := "", "", ""
		for _, c := range list {
			for _, n := range c.Choices {
				for _, d := range n.Delta.ToolCalls {
					called += d.Function.Name
					said += d.Function.Arguments
					if (d.ID != "") != (d.Function.Name != "") {
						t.Errorf("%s: a part of a call with id %q and name %q", name, d.ID, d.Function.Name)
					}
				}
				reason += n.FinishReason
			}
		}
		if called != call.Function.Name || said != call.Function.Arguments || reason != "tool_calls" {
			t.Errorf("%s: streamed %s(%s) (%s), want %s(%s)", name, called, said, reason, call.Function.Name, call.Function.Arguments)
		}
	}
	none := h.chat("/v1/chat/completions", `{`+hello+`,"tools":[`+addTool+`],"tool_choice":"none","max_tokens":9,"temperature":0,"ignore_eos":true}`)
	without := h.chat("/v1/chat/completions", `{`+hello+`,"max_tokens":9,"temperature":0,"ignore_eos":true}`)
	if none.Choices[0].Message.Content != without.Choices[0].Message.Content {
		t.Errorf("tool_choice none: %q, without tools %q", none.Choices[0].Message.Content, without.Choices[0].Message.Content)
	}
	plain, _ := openText(t, "gemma")
	if a := plain.post("/v1/chat/completions", `{`+hello+`,"tools":[`+addTool+`]}`); a.status != 400 || !strings.Contains(a.body, `"param":"tools"`) {
		t.Errorf("a model without tools: %d %s", a.status, a.body)
	}
}

func TestTokenizeConversations(t *testing.T) {
	h, m := openText(t, "qwen3")
	ids, err := m.Chat(t.Context(), conversation(t, `[{"role":"user","content":"Hello there"}]`))
	if err != nil {
		t.Fatal(err)
	}
	want, _ := json.Marshal(ids)
	if a := h.post("/tokenize", `{`+hello+`}`); !strings.HasPrefix(a.body, `{"tokens":`+string(want)+`,"count":`) {
		t.Errorf("%s, want %s", a.body, want)
	}
	for _, body := range []string{`{}`, `{` + hello + `,"prompt":"a"}`, `{"messages":[]}`, `{"messages":[{"content":"a"}]}`} {
		if a := h.post("/tokenize", body); a.status != 400 {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
}

func TestV2Text(t *testing.T) {
	h, _ := openText(t, "qwen3")
	want := h.chat("/v1/chat/completions", `{`+hello+`,"max_tokens":9,"temperature":0}`).Choices[0].Message.Content
	a := h.post("/v2/models/tiny/infer", `{"id":"7","inputs":[{"name":"text","shape":[1],"datatype":"BYTES","data":["Hello there"]},
		{"name":"max_tokens","shape":[1],"datatype":"BYTES","data":["9"]},{"name":"temperature","shape":[1],"datatype":"FP32","data":[0]}]}`)
	var r struct {
		ID      string
		Outputs []struct {
			Name, Datatype string
			Shape          []int
			Data           []any
		}
	}
	if err := json.Unmarshal([]byte(a.body), &r); err != nil || a.status != 200 || r.ID != "7" || len(r.Outputs) != 4 || r.Outputs[0].Data[0] != want || r.Outputs[3].Data[0] != 9.0 {
		t.Errorf("%d %s, want %q", a.status, a.body, want)
	}
	b := h.post("/v2/models/tiny/infer", `{"inputs":[{"name":"messages","shape":[1],"datatype":"BYTES","data":[`+quote(`[{"role":"user","content":"Hello there"}]`)+`]}],
		"parameters":{"max_tokens":9,"temperature":0},"outputs":[{"name":"output"}]}`)
	if err := json.Unmarshal([]byte(b.body), &r); err != nil || len(r.Outputs) != 1 || r.Outputs[0].Data[0] != want {
		t.Errorf("%d %s, want %q", b.status, b.body, want)
	}
	for _, inputs := range []string{`[]`, `[{"name":"text","shape":[1],"datatype":"BYTES","data":["a"]},{"name":"prompt","shape":[1],"datatype":"BYTES","data":["a"]}]`,
		`[{"name":"text","shape":[1],"datatype":"BYTES","data":["a"]},{"name":"temperature","shape":[1],"datatype":"FP32","data":[-1]}]`} {
		if a := h.post("/v2/models/tiny/infer", `{"inputs":`+inputs+`}`); a.status != 400 {
			t.Errorf("%s: %d %s", inputs, a.status, a.body)
		}
	}
}

// TestOtherRoutesNameTheRightOne: a language model makes no vectors.
func TestOtherRoutesNameTheRightOne(t *testing.T) {
	h, _ := openText(t, "qwen3")
	for _, path := range []string{"/v1/embeddings", "/api/generate", "/v1/images/generations"} {
		if a := h.post(path, `{"input":"a"}`); a.status != 400 || !strings.Contains(a.body, "/chat/completions") {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
}
