package http

import "sync/atomic"

// Phase is where the server is between its start and its end. Health checks,
// scalers and clients see it by the words below.
type Phase int

const (
	Checking   Phase = iota // looking at the model's files
	Loading                 // reading them
	Serving                 // answering; set by Ready
	FilesUnfit              // the files cannot be used
	LoadFailed              // loading them failed
	Draining                // ending; nothing follows
)

// phases are the words of each phase: health is its status in /api/health,
// status the one in /api/status.
var phases = [...]struct{ health, status string }{
	Checking:   {"loading", "Checking model files..."},
	Loading:    {"loading", "initializing server"},
	Serving:    {"ok", "ready"},
	FilesUnfit: {"error", "Model configuration not found"},
	LoadFailed: {"error", "Model initialization FAILED"},
	Draining:   {"draining", "shutting down"},
}

// String is the phase as /api/status words it.
func (p Phase) String() string { return phases[p].status }

// state is what the handlers need to know; a value is never changed.
type state struct {
	phase  Phase
	loaded Loaded // set while Serving and Draining
}

type snapshot = atomic.Pointer[state]

// SetPhase changes the phase. After Draining it does nothing.
func (s *Server) SetPhase(p Phase) { s.change(func(st *state) { st.phase = p }) }

// Ready makes the server answer for a model.
func (s *Server) Ready(m Loaded) { s.change(func(st *state) { st.phase, st.loaded = Serving, m }) }

// Phase is the present phase.
func (s *Server) Phase() Phase { return s.now.Load().phase }

func (s *Server) change(f func(*state)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := *s.now.Load()
	if next.phase == Draining {
		return
	}
	f(&next)
	s.now.Store(&next)
}
