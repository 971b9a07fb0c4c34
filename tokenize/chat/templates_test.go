package chat

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
)

const simple = `{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}`

func TestTemplatesAreFoundWhereRepositoriesKeepThem(t *testing.T) {
	hello := conversation(t, `{"messages": [{"role": "user", "content": "hi"}]}`)
	tools := hello
	tools.Tools = List(dict(t, `{"type": "function"}`))
	named := hello
	named.Template = "rag"
	for _, c := range []struct {
		name  string
		files map[string]string
		c     Conversation
		want  string
	}{
		{"a file of its own", map[string]string{"chat_template.jinja": "J", "tokenizer_config.json": `{"chat_template": "C"}`}, hello, "J"},
		{"the tokenizer's file", map[string]string{"tokenizer_config.json": `{"chat_template": "C"}`, "chat_template.json": `{"chat_template": "P"}`}, hello, "C"},
		{"the processor's file", map[string]string{"tokenizer_config.json": `{"chat_template": null}`, "chat_template.json": `{"chat_template": "P"}`}, hello, "P"},
		{"the default of several", map[string]string{"tokenizer_config.json": `{"chat_template": [{"name": "default", "template": "D"}, {"name": "tool_use", "template": "T"}]}`}, hello, "D"},
		{"the one for tools", map[string]string{"tokenizer_config.json": `{"chat_template": [{"name": "default", "template": "D"}, {"name": "tool_use", "template": "T"}]}`}, tools, "T"},
		{"one by its name", map[string]string{"chat_template.jinja": "J", "additional_chat_templates/rag.jinja": "R"}, named, "R"},
		{"special tokens", map[string]string{"chat_template.jinja": "{{ bos_token }}{{ eos_token }}{{ image_token }}{{ pad_token }}",
			"tokenizer_config.json": `{"bos_token": "<s>", "eos_token": {"content": "</s>"}, "image_token": "<i>", "pad_token": null, "add_bos_token": true}`, "special_tokens_map.json": `{"bos_token": "X", "pad_token": "<p>"}`}, hello, "<s></s><i><p>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := repository(t, c.files)
			parts, err := k.Render(context.Background(), c.c)
			if got := joined(parts); err != nil || got != c.want {
				t.Errorf("%q, %v, want %q", got, err, c.want)
			}
		})
	}
}

func TestWhatCannotBeRenderedIsRefusedByName(t *testing.T) {
	const two = `{"chat_template": [{"name": "a", "template": "A"}, {"name": "b", "template": "B"}]}`
	for _, c := range []struct{ name, config, body, want string }{
		{"no template", `{}`, `{"messages": [{"role": "user", "content": "x"}]}`, "no chat template: the model's files have none"},
		{"no default", two, `{"messages": [{"role": "user", "content": "x"}]}`, "there are a, b"},
		{"no messages", `{"chat_template": "x"}`, `{"messages": []}`, "messages: must not be empty"},
		{"messages of a wrong type", `{"chat_template": "x"}`, `{"messages": {}}`, "messages: must be a list"},
		{"a message of a wrong type", `{"chat_template": "x"}`, `{"messages": ["x"]}`, "messages[0]: must be an object"},
		{"a picture", `{"chat_template": "x"}`, `{"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url"}]}]}`, `messages[0].content[1].type: "image_url" is not supported`},
		{"a part without text", `{"chat_template": "x"}`, `{"messages": [{"role": "user", "content": [{"type": "text", "text": 7}]}]}`, "messages[0].content[0].text: must be a text"},
		{"a part of a wrong type", `{"chat_template": "x"}`, `{"messages": [{"role": "user", "content": [7]}]}`, "messages[0].content[0]: must be an object"},
		{"tools of a wrong type", `{"chat_template": "x"}`, `{"messages": [{"role": "user"}], "tools": "x"}`, "tools: must be a list"},
		{"a tool of a wrong type", `{"chat_template": "x"}`, `{"messages": [{"role": "user"}], "tools": [1]}`, "tools[0]: must be an object"},
		{"a variable that is taken", `{"chat_template": "x"}`, `{"messages": [{"role": "user"}], "kwargs": {"messages": 1}}`, "chat_template_kwargs.messages"},
		{"both ends", `{"chat_template": "{{ messages[0].content }}"}`, `{"messages": [{"role": "user", "content": "x"}], "continue_final_message": true, "add_generation_prompt": true}`, "continue_final_message: excludes"},
		{"nothing to continue", `{"chat_template": "{{ messages[0].content }}"}`, `{"messages": [{"role": "user"}], "continue_final_message": true}`, "messages[0].content: the final message has no content"},
		{"a message that is left out", `{"chat_template": "{# content #}"}`, `{"messages": [{"role": "user", "content": "x"}], "continue_final_message": true}`, "leaves the final message out"},
		{"a broken template", `{"chat_template": "{% if"}`, `{"messages": [{"role": "user", "content": "x"}]}`, "chat template: line 1"},
		{"the template's own refusal", `{"chat_template": "{{ raise_exception('roles must alternate') }}"}`, `{"messages": [{"role": "user", "content": "x"}]}`, "roles must alternate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := repository(t, map[string]string{"tokenizer_config.json": c.config})
			_, err := k.Render(context.Background(), conversation(t, c.body))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if none := errors.Is(err, ErrNoTemplate); none != strings.HasPrefix(c.name, "no template") && none != strings.HasPrefix(c.name, "no default") {
				t.Errorf("no template: %v", none)
			}
		})
	}
}

func TestBrokenFilesAreRefusedByName(t *testing.T) {
	for file, content := range map[string]string{
		"tokenizer_config.json":   `{"chat_template": 7}`,
		"special_tokens_map.json": `[]`,
		"chat_template.json":      `{"chat_template"`,
	} {
		_, err := Load(func(name string) ([]byte, error) {
			if name == file {
				return []byte(content), nil
			}
			return nil, os.ErrNotExist
		}, func(string) []string { return nil })
		if err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: error %v", file, err)
		}
	}
}

func TestContentsComeAsTheTemplateTakesThem(t *testing.T) {
	const body = `{"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]}`
	for _, c := range []struct{ name, template, want string }{
		{"as a text", simple, "<user>⟦ab⟧"},
		{"as a text that is added", "{{ '<' + messages[0].content + '>' }}", "<⟦ab⟧>"},
		{"as a text in JSON", "{{ messages[0].content|tojson }}", `⟦"ab"⟧`},
		{"in parts", "{% for p in messages[0].content %}{{ p.type }}:{{ p.text }};{% endfor %}", "⟦text⟧:⟦a⟧;⟦text⟧:⟦b⟧;"},
		{"in either form", "{% if messages[0].content is string %}S{{ messages[0].content }}{% else %}{% for p in messages[0].content %}P{{ p.text }}{% endfor %}{% endif %}", "P⟦a⟧P⟦b⟧"},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := repository(t, map[string]string{"chat_template.jinja": c.template})
			parts, err := k.Render(context.Background(), conversation(t, body))
			if got := spelled(parts); err != nil || got != c.want {
				t.Errorf("%q, %v, want %q", got, err, c.want)
			}
		})
	}
}

func TestArgumentsOfToolCallsAreRead(t *testing.T) {
	body := func(arguments string) string {
		return `{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": null, "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": ` + arguments + `}}]}]}`
	}
	const object = `{% for m in messages %}{% for c in m.tool_calls or [] %}{{ c.function.arguments|tojson }}{% endfor %}{{ m.content is defined }}{% endfor %}`
	const words = `{% for m in messages %}{% for c in m.tool_calls or [] %}{{ 'A:' + c.function.arguments }}{% endfor %}{% endfor %}`
	for _, c := range []struct{ name, template, arguments, want string }{
		{"a text of an object", object, `"{\"a\": 1.0, \"b\": 12345678901234567890}"`, `True{"a": 1.0, "b": 12345678901234567890}False`},
		{"an object", object, `{"a": 1}`, `True{"a": 1}False`},
		{"no text", object, `""`, `True{}False`},
		{"a text that is no JSON", object, `"{"`, `True"{"False`},
		{"a template that asks for no content", `{% for m in messages %}{% if m['content'] is none %}{% for c in m.tool_calls %}{{ c.function.arguments|tojson }}{% endfor %}{% else %}{{ m['content'] + ';' }}{% endif %}{% endfor %}`, `"{\"a\": 1}"`, `q;{"a": 1}`},
		{"a template that needs a content", `{% for m in messages %}{{ m.content.strip() + ';' }}{% for c in m.tool_calls or [] %}{{ c.function.arguments|tojson }}{% endfor %}{% endfor %}`, `{"a": 1}`, `q;;{"a": 1}`},
		{"a template that wants the text", words, `"{\"a\": 1}"`, `A:{"a": 1}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := repository(t, map[string]string{"chat_template.jinja": c.template})
			parts, err := k.Render(context.Background(), conversation(t, body(c.arguments)))
			if got := joined(parts); err != nil || got != c.want {
				t.Errorf("%q, %v, want %q", got, err, c.want)
			}
		})
	}
}

func TestTheFinalMessageIsLeftOpen(t *testing.T) {
	for _, c := range []struct{ name, template, content, want string }{
		{"as it is", simple + "</s>", `"one, two, "`, "<user>⟦q⟧<assistant>⟦one, two, ⟧"},
		{"trimmed", "{% for m in messages %}<{{ m.content|trim }}>{% endfor %}", `"one, two, "`, "<⟦q⟧><⟦one, two,⟧"},
		{"in parts", "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}<{{ p.text }}>{% endfor %}{% endif %}{% endfor %}", `[{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]`, "⟦q⟧<⟦a⟧><⟦b⟧"},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := repository(t, map[string]string{"chat_template.jinja": c.template})
			parts, err := k.Render(context.Background(), conversation(t, `{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": `+c.content+`}], "continue_final_message": true}`))
			if got := spelled(parts); err != nil || got != c.want {
				t.Errorf("%q, %v, want %q", got, err, c.want)
			}
		})
	}
}

func TestJSONIsReadAsPythonReadsIt(t *testing.T) {
	for raw, want := range map[string]string{
		`{"b": 1, "a": 2, "b": 3}`:       "{'b': 3, 'a': 2}",
		`[1, 1.0, -0, -0.0, 1e2]`:        "[1, 1.0, 0, -0.0, 100.0]",
		`[1e999, -1e999]`:                "[inf, -inf]",
		`123456789012345678901234567890`: "123456789012345678901234567890",
		`"\ud83d\ude42 \ud83d \u00e9"`:   "🙂 \uFFFD é",
		` [ true , false , null ] `:      "[True, False, None]",
		`"a\/b\"c"`:                      `a/b"c`,
	} {
		v, err := ParseJSON([]byte(raw))
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		vars := NewDict()
		vars.Set("v", v)
		if parts, err := render(t, "{{ v }}", vars); err != nil || joined(parts) != want {
			t.Errorf("%s is %q (%v), want %q", raw, joined(parts), err, want)
		}
	}
	for raw, want := range map[string]string{
		``: "unexpected end", `[1,]`: "unexpected", `{"a" 1}`: "':' is missing", `{a: 1}`: "a name is missing", `[1 2]`: "',' or ']' is missing",
		`01`: "bad number", `1.`: "bad number", `-`: "bad number", `"a`: "unclosed string", `"\x"`: "unknown escape", "\"\n\"": "control character", `1 2`: "behind the end",
		`NaN`: "unexpected", strings.Repeat("[", 1_000_000): "nested deeper", strings.Repeat("9", 5000): "more than 4300 digits",
	} {
		if _, err := ParseJSON([]byte(raw)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: error %v, want %q", raw, err, want)
		}
	}
}
