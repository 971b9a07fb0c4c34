package clients

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/shared"

	"remote-client-server/bench/contract/server"
)

// weather is the tool that the built-in model knows.
var weather = openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{
	Name: "get_weather", Description: openai.String("The weather in a city."),
	Parameters: shared.FunctionParameters{
		"type": "object", "properties": map[string]any{"city": map[string]string{"type": "string"}}, "required": []string{"city"}, "additionalProperties": false,
	},
})

// city is the form of a structured answer.
type city struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
}

// goChats talks, streams, calls a tool, asks for JSON, and stops in the middle.
func goChats(t *testing.T, s *server.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client := newClient(s.Base + "/v1")
	ask := func(question string) openai.ChatCompletionNewParams {
		return openai.ChatCompletionNewParams{
			Model: "any", Temperature: openai.Float(0), MaxCompletionTokens: openai.Int(64),
			Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(question)},
		}
	}
	for _, prefix := range []string{"/v1", "/openai/v1", "/api"} {
		client := newClient(s.Base + prefix)
		a, err := client.Chat.Completions.New(ctx, ask("What is the capital of Norway?"))
		if err != nil {
			t.Fatal(err)
		}
		if got := a.Choices[0].Message.Content; got != "The capital of Norway is Oslo." || a.Choices[0].FinishReason != "stop" || a.Usage.TotalTokens != a.Usage.PromptTokens+a.Usage.CompletionTokens {
			t.Errorf("%s: %q (%s, %+v)", prefix, got, a.Choices[0].FinishReason, a.Usage)
		}
	}
	streamed := ask("Count from 3 to 9.")
	streamed.StreamOptions = openai.ChatCompletionStreamOptionsParam{IncludeUsage: openai.Bool(true)}
	stream := client.Chat.Completions.NewStreaming(ctx, streamed)
	whole := openai.ChatCompletionAccumulator{}
	chunks := 0
	for stream.Next() {
		chunks++
		if !whole.AddChunk(stream.Current()) {
			t.Errorf("chunk %d does not belong to the others", chunks)
		}
	}
	if err := stream.Err(); err != nil || chunks < 8 || whole.Choices[0].Message.Content != "3, 4, 5, 6, 7, 8, 9." || whole.Usage.CompletionTokens == 0 {
		t.Errorf("streamed %q in %d chunks: %v", whole.Choices[0].Message.Content, chunks, err)
	}

	tools := ask("What is the weather in Oslo?")
	tools.Tools = []openai.ChatCompletionToolUnionParam{weather}
	a, err := client.Chat.Completions.New(ctx, tools)
	if err != nil {
		t.Fatal(err)
	}
	calls := a.Choices[0].Message.ToolCalls
	var arguments struct{ City string }
	if len(calls) != 1 || calls[0].Function.Name != "get_weather" || json.Unmarshal([]byte(calls[0].Function.Arguments), &arguments) != nil || arguments.City != "Oslo" {
		t.Fatalf("calls of tools: %+v", calls)
	}
	tools.Messages = append(tools.Messages, a.Choices[0].Message.ToParam(), openai.ToolMessage("sunny, 20 degrees", calls[0].ID))
	if a, err = client.Chat.Completions.New(ctx, tools); err != nil || !strings.Contains(a.Choices[0].Message.Content, "20 degrees") {
		t.Errorf("after the tool: %v: %+v", err, a)
	}

	form := ask("Tell me about a city.")
	form.ResponseFormat = openai.ChatCompletionNewParamsResponseFormatUnion{OfJSONSchema: &shared.ResponseFormatJSONSchemaParam{
		JSONSchema: shared.ResponseFormatJSONSchemaJSONSchemaParam{Name: "city", Strict: openai.Bool(true), Schema: map[string]any{
			"type": "object", "additionalProperties": false, "required": []string{"name", "size"},
			"properties": map[string]any{"name": map[string]string{"type": "string"}, "size": map[string]string{"type": "integer"}},
		}},
	}}
	if a, err = client.Chat.Completions.New(ctx, form); err != nil {
		t.Fatal(err)
	}
	var c city
	d := json.NewDecoder(strings.NewReader(a.Choices[0].Message.Content))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		t.Errorf("%v: %q", err, a.Choices[0].Message.Content)
	}

	wrong := ask("hello")
	wrong.Temperature = openai.Float(-1)
	var refused *openai.Error
	if _, err := client.Chat.Completions.New(ctx, wrong); !errors.As(err, &refused) || refused.StatusCode != 400 || refused.Param != "temperature" {
		t.Errorf("temperature -1: %v", err)
	}
	if _, err := client.Chat.Completions.New(ctx, ask(strings.Repeat("word ", 3000))); !errors.As(err, &refused) || refused.Code != "context_length_exceeded" {
		t.Errorf("a long prompt: %v", err)
	}

	leaving, leave := context.WithCancel(ctx)
	endless := ask("Count from 1 to 20.")
	endless.MaxCompletionTokens = openai.Int(900)
	gone := client.Chat.Completions.NewStreaming(leaving, endless, option.WithJSONSet("ignore_eos", true), option.WithHeader("X-Request-Id", "leaves"))
	if !gone.Next() {
		t.Fatal(gone.Err())
	}
	leave()
	server.Until(t, "the job is cancelled", func() bool { return find(t, s, "leaves").State == "cancelled" })
	gone.Close()

	text, err := client.Completions.New(ctx, openai.CompletionNewParams{
		Model: "any", Prompt: openai.CompletionNewParamsPromptUnion{OfString: openai.String("<|user|>Spell cat.<|end|><|assistant|>")}, Temperature: openai.Float(0),
	})
	if err != nil || text.Choices[0].Text != "C-A-T." {
		t.Errorf("a completion: %v: %+v", err, text)
	}
	if res, err := http.Get(s.Base + "/metrics"); err != nil || !strings.Contains(read(t, res), "modelserver_generation_tokens_total") {
		t.Errorf("no tokens in the metrics: %v", err)
	}
}
