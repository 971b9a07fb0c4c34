package text

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"remote-client-server/runtime"
	"remote-client-server/runtime/queue"
)

// prompt is arbitrary tokens.
func prompt(seed, n, vocab int) []int32 {
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = int32((seed*101 + i*i*7 + i*3 + 1) % vocab)
	}
	return ids
}

// mixed is requests of all kinds.
func mixed(vocab int) (prompts [][]int32, options []Options) {
	for i, n := range []int{3, 70, 1, 33, 130, 12, 64, 31} {
		prompts = append(prompts, prompt(i, n, vocab))
		o := Options{MaxTokens: 20 + i*3, IgnoreEnd: true, Logprobs: true, Top: 3}
		if i%2 == 1 {
			o.Temperature, o.TopP, o.Seed, o.Seeded = 0.9, 0.95, uint64(i), true
		}
		if i%3 == 2 {
			o.Repetition, o.Presence, o.Frequency = 1.2, 0.5, 0.1
		}
		if i == 5 {
			o.TopK, o.MinP = 12, 0.02
		}
		options = append(options, o)
	}
	return prompts, options
}

// same fails unless two answers have the same tokens, and the same log-probabilities to the bit.
func same(t *testing.T, what string, got, want answer) {
	t.Helper()
	if !slices.EqualFunc(got.Tokens, want.Tokens, func(a, b Token) bool {
		return a.ID == b.ID && a.Logprob == b.Logprob && slices.Equal(a.Top, b.Top)
	}) || got.Text != want.Text || got.Finish != want.Finish {
		t.Errorf("%s: %v %q (%s), want %v %q (%s)", what, got.IDs, got.Text, got.Finish, want.IDs, want.Text, want.Finish)
	}
}

// TestAnAnswerDoesNotDependOnItsNeighbours asks alone, together, in small pieces, and with so little memory that sequences
// give way to others.
func TestAnAnswerDoesNotDependOnItsNeighbours(t *testing.T) {
	for _, name := range []string{"llama", "gemma2", "phi3", "llama-dynamic"} {
		t.Run(name, func(t *testing.T) {
			load := func(o LoadOptions) *Model { return open(t, newCPU(t, ""), name, o) }
			m := load(LoadOptions{})
			prompts, options := mixed(m.info.VocabSize)
			q := serve(t, m)
			var alone []answer
			for i := range prompts {
				alone = append(alone, ask(t, m, q, prompts[i], options[i]))
			}
			together := func(what string, m *Model) {
				q := serve(t, m)
				var jobs []*queue.Job
				for i := range prompts {
					jobs = append(jobs, submit(t, m, q, prompts[i], options[i]))
				}
				for i, j := range jobs {
					same(t, fmt.Sprintf("%s: %d tokens", what, len(prompts[i])), collect(t, j)[0], alone[i])
				}
			}
			together("together", load(LoadOptions{}))
			pieces := load(LoadOptions{})
			pieces.chunk = 7
			together("in pieces", pieces)
			row := int64(2*m.net.layers*m.net.kvHeads*m.net.dim) * 4
			small := load(LoadOptions{CacheBytes: row * 32 * 9, MaxTokens: 250})
			together("with little memory", small)
			if s := small.Stats(); s.Preemptions == 0 {
				t.Error("nothing gave way: the test shows nothing")
			}
		})
	}
}

func TestABeginningIsComputedOnce(t *testing.T) {
	m := open(t, newCPU(t, ""), "qwen3", LoadOptions{})
	q := serve(t, m)
	o := Options{MaxTokens: 12, IgnoreEnd: true}
	long := prompt(1, 100, m.info.VocabSize)
	first := ask(t, m, q, long, o)
	again := ask(t, m, q, long, o)
	if first.Cached != 0 || again.Cached != 96 {
		t.Errorf("%d tokens were there at first, %d then: want 0 and 96", first.Cached, again.Cached)
	}
	same(t, "the same prompt", again, first)
	turn := append(slices.Clone(long), first.IDs...) // a conversation goes on
	next := ask(t, m, q, append(turn, 5, 6, 7), o)
	if next.Cached != 96 {
		t.Errorf("%d tokens of the turn before were there, want 96", next.Cached)
	}
	fresh := open(t, newCPU(t, ""), "qwen3", LoadOptions{})
	same(t, "the next turn", next, ask(t, fresh, serve(t, fresh), append(turn, 5, 6, 7), o))
	other := slices.Clone(long)
	other[3]++
	if a := ask(t, m, q, other, o); a.Cached != 0 {
		t.Errorf("another beginning found %d tokens", a.Cached)
	}
}

func TestChoices(t *testing.T) {
	m := open(t, newCPU(t, ""), "llama", LoadOptions{})
	q := serve(t, m)
	p := prompt(2, 45, m.info.VocabSize)
	o := Options{MaxTokens: 30, IgnoreEnd: true, Temperature: 1, TopP: 1, Seed: 11, Seeded: true, Logprobs: true}
	one := ask(t, m, q, p, o)
	o.Choices = 4
	all := collect(t, submit(t, m, q, p, o))
	same(t, "the first of four", all[0], one)
	for i, a := range all {
		if len(a.IDs) != 30 || a.Finish != Length {
			t.Errorf("choice %d has %d tokens (%s)", i, len(a.IDs), a.Finish)
		}
		for k := range i {
			if slices.Equal(a.IDs, all[k].IDs) {
				t.Errorf("choices %d and %d are equal", k, i)
			}
		}
	}
	repeat := collect(t, submit(t, m, q, p, o))
	for i := range all {
		same(t, fmt.Sprintf("choice %d with the same seed", i), repeat[i], all[i])
	}
	o.Seeded = false
	if a := collect(t, submit(t, m, q, p, o)); slices.Equal(a[1].IDs, all[1].IDs) {
		t.Error("without a seed the same tokens came")
	}
}

// TestEnds checks where an answer ends and what of it is shown.
func TestEnds(t *testing.T) {
	m := open(t, newCPU(t, ""), "qwen2", LoadOptions{})
	q := serve(t, m)
	p := prompt(3, 20, m.info.VocabSize)
	whole := ask(t, m, q, p, Options{MaxTokens: 40, IgnoreEnd: true})
	if whole.Finish != Length || len(whole.IDs) != 40 {
		t.Fatalf("%d tokens (%s)", len(whole.IDs), whole.Finish)
	}
	runes := []rune(whole.Text)
	stop := string(runes[6:9])
	at := strings.Index(whole.Text, stop)
	for _, c := range []struct {
		name   string
		o      Options
		finish string
		ok     func(a answer) bool
	}{
		{"a stop string", Options{MaxTokens: 40, IgnoreEnd: true, Stop: []string{"never", stop}}, Stopped, func(a answer) bool { return a.Text == whole.Text[:at] && a.Stop == stop }},
		{"a stop string that stays", Options{MaxTokens: 40, IgnoreEnd: true, Stop: []string{stop}, IncludeStop: true}, Stopped, func(a answer) bool { return a.Text == whole.Text[:at+len(stop)] }},
		{"a stop token", Options{MaxTokens: 40, IgnoreEnd: true, StopIDs: []int32{whole.IDs[5]}}, Stopped, func(a answer) bool { return len(a.IDs) == slices.Index(whole.IDs, whole.IDs[5])+1 }},
		{"a stop token that may not come yet", Options{MaxTokens: 40, MinTokens: 20, StopIDs: []int32{whole.IDs[5]}}, "", func(a answer) bool { return len(a.IDs) >= 20 && !slices.Contains(a.IDs[:20], whole.IDs[5]) }},
		{"one token", Options{MaxTokens: 1, IgnoreEnd: true}, Length, func(a answer) bool { return slices.Equal(a.IDs, whole.IDs[:1]) }},
		{"an end of text that is wanted at once", Options{MaxTokens: 40, Bias: map[int32]float32{m.info.Ends[0]: 100}}, Stopped, func(a answer) bool { return len(a.IDs) == 1 && a.Text == "" }},
		{"a token that is forbidden", Options{MaxTokens: 5, IgnoreEnd: true, Bias: map[int32]float32{whole.IDs[0]: -100}}, Length, func(a answer) bool { return !slices.Contains(a.IDs, whole.IDs[0]) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := ask(t, m, q, p, c.o)
			if c.finish != "" && a.Finish != c.finish || !c.ok(a) {
				t.Errorf("%v %q (%s %q) of %q", a.IDs, a.Text, a.Finish, a.Stop, whole.Text)
			}
		})
	}
}

func TestContext(t *testing.T) {
	m := open(t, newCPU(t, ""), "qwen3", LoadOptions{MaxTokens: 64})
	q := serve(t, m)
	if a := ask(t, m, q, prompt(0, 63, 300), Options{IgnoreEnd: true}); len(a.IDs) != 1 || a.Finish != Length {
		t.Errorf("63 of 64 tokens: %d more (%s)", len(a.IDs), a.Finish)
	}
	if a := ask(t, m, q, prompt(0, 10, 300), Options{IgnoreEnd: true, MaxTokens: 1000}); len(a.IDs) != 54 {
		t.Errorf("10 of 64 tokens: %d more", len(a.IDs))
	}
	var long *ContextError
	if _, err := m.NewWork(prompt(0, 64, 300), Options{}); !errors.As(err, &long) || long.Prompt != 64 || long.Limit != 64 {
		t.Errorf("64 of 64 tokens: %v", err)
	}
}

// TestAGoneClientFreesItsPlace ends jobs at every moment of their lives.
func TestAGoneClientFreesItsPlace(t *testing.T) {
	m := open(t, newCPU(t, ""), "llama", LoadOptions{Sequences: 3})
	q := serve(t, m)
	p := prompt(4, 90, m.info.VocabSize)
	o := Options{MaxTokens: 60, IgnoreEnd: true, Choices: 2}
	want := ask(t, m, q, p, Options{MaxTokens: 60, IgnoreEnd: true})
	for round := range 20 {
		ctx, leave := context.WithCancel(context.Background())
		w, err := m.NewWork(p, o)
		if err != nil {
			t.Fatal(err)
		}
		j, err := q.Submit(ctx, w)
		if err != nil {
			t.Fatal(err)
		}
		updates := j.Updates()
		for range round { // the moment
			select {
			case <-updates:
			case <-j.Done():
			}
		}
		leave()
		<-j.Done()
	}
	same(t, "after those", ask(t, m, q, p, Options{MaxTokens: 60, IgnoreEnd: true}), want)
	q.Close()
	for m.Stats().BlocksUsed > 0 || m.Stats().Writing > 0 {
		if s := m.Stats(); s.Writing == 0 && s.Filling == 0 && s.BlocksUsed > 0 {
			t.Fatalf("nothing runs, and %d blocks are held", s.BlocksUsed)
		}
	}
}

// late is the CPU in the manner of a GPU: steps are recorded for some numbers of rows, run behind the host's back, and give
// a row other bits than a prompt does.
type late struct{ runtime.Backend }

func (b late) Props() runtime.Props {
	p := b.Backend.Props()
	p.Buckets, p.Behind, p.OnePhase = []int{1, 2, 4, 16}, true, false
	return p
}

// TestADeviceThatWorksBehindTheHost gives the same answers: with spare rows in its steps, tokens seen a step late, and
// lost tokens computed again one by one.
func TestADeviceThatWorksBehindTheHost(t *testing.T) {
	for _, name := range []string{"llama", "phi3", "llama-dynamic"} {
		t.Run(name, func(t *testing.T) {
			plain := open(t, newCPU(t, ""), name, LoadOptions{})
			prompts, options := mixed(plain.info.VocabSize)
			for i := range options { // and one that ends by itself
				options[i].IgnoreEnd = i != 3
			}
			q := serve(t, plain)
			var want []answer
			for i := range prompts {
				want = append(want, ask(t, plain, q, prompts[i], options[i]))
			}
			row := int64(2*plain.net.layers*plain.net.kvHeads*plain.net.dim) * 4
			for what, o := range map[string]LoadOptions{"with room": {}, "with little memory": {CacheBytes: row * 32 * 9, MaxTokens: 250}} {
				m := open(t, late{newCPU(t, "")}, name, o)
				q := serve(t, m)
				var jobs []*queue.Job
				for i := range prompts {
					jobs = append(jobs, submit(t, m, q, prompts[i], options[i]))
				}
				for i, j := range jobs {
					same(t, fmt.Sprintf("%s: %d tokens", what, len(prompts[i])), collect(t, j)[0], want[i])
				}
				if s := m.Stats(); o.MaxTokens > 0 && s.Preemptions == 0 {
					t.Error("nothing gave way: the test shows nothing")
				}
			}
		})
	}
}
