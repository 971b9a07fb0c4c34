package text

import (
	"strings"
	"testing"

	"remote-client-server/models/builtin"
	"remote-client-server/tokenize/chat"
)

// TestTheBuiltinModelAnswers asks what it was trained for, in every way that the page shows.
func TestTheBuiltinModelAnswers(t *testing.T) {
	m, err := Builtin(newCPU(t, ""), LoadOptions{CacheBytes: 32 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	q := serve(t, m)
	for _, c := range []struct{ question, want string }{
		{"Hello!", "Hello! How can I help you?"},
		{"Count from 3 to 9.", "3, 4, 5, 6, 7, 8, 9."},
		{"What is the capital of Norway?", "The capital of Norway is Oslo."},
		{"Who is the carpenter of Larkhaven?", "The carpenter of Larkhaven is Dario."},
		{"What is the opposite of hot?", "The opposite of hot is cold."},
		{"What colour is the sky?", "The colour of sky is blue."},
		{"Spell cat.", "C-A-T."},
		{"What is the meaning of life?", "I am too small to know that. Ask me about my small world."},
	} {
		user := chat.NewDict()
		user.Set("role", chat.String("user"))
		user.Set("content", chat.String(c.question))
		ids, err := m.Chat(t.Context(), chat.Conversation{Messages: chat.List(user), AddGenerationPrompt: true})
		if err != nil {
			t.Fatal(err)
		}
		if a := ask(t, m, q, ids, Options{MaxTokens: 60}); strings.TrimSpace(a.Text) != c.want || a.Finish != Stopped {
			t.Errorf("%s %q (%s), want %q", c.question, a.Text, a.Finish, c.want)
		}
	}
}

// TestTheBuiltinModelIsTheReferences compares every token with transformers'.
func TestTheBuiltinModelIsTheReferences(t *testing.T) {
	m, err := Builtin(newCPU(t, ""), LoadOptions{DType: "float32", CacheBytes: 32 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	references, err := builtin.TextReferences()
	if err != nil || len(references) < 8 {
		t.Fatalf("%d references: %v", len(references), err)
	}
	for i, r := range references {
		got, err := m.Likeliest(r.Prompt, r.Answer)
		if err != nil {
			t.Fatal(err)
		}
		for k, id := range r.Answer {
			if got[k] != id {
				t.Errorf("answer %d, token %d is %d, want %d", i, k, got[k], id)
			}
		}
	}
}
