package text

import (
	"maps"
	"time"
)

// Stats is what a model has done so far and what it holds now.
type Stats struct {
	PromptTokens int64 // of admitted jobs
	CachedTokens int64 // of these, not computed again
	Preemptions  int64
	Finished     map[string]int64 // choices by the reason of their end

	Writing, Filling int // sequences
	BlocksUsed       int // of the cache, by running sequences
	Blocks           int
}

// Stats looks at the model.
func (m *Model) Stats() Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.stats
	s.Finished = maps.Clone(s.Finished)
	return s
}

func (m *Model) count(f func(*Stats)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stats.Finished == nil {
		m.stats.Finished = map[string]int64{}
	}
	f(&m.stats)
}

// Observer is told how long things take, on the worker's goroutine.
type Observer interface {
	// FirstToken is the time from a job's admission to its first token, NextToken that between two tokens of a sequence.
	FirstToken(time.Duration)
	NextToken(time.Duration)
	// Step is a pass over rows of prompts, or one token of so many sequences.
	Step(prompt, writing int, took time.Duration)
}

// Observe sets who is told; before Serve.
func (m *Model) Observe(o Observer) { m.observer = o }

func (m *Model) observe(f func(Observer)) {
	if m.observer != nil {
		f(m.observer)
	}
}
