package http

import (
	"sync/atomic"
	"time"
)

// Phase is where the server is between its start and its end. Health checks,
// scalers and clients see it by the words below.
type Phase int

const (
	Checking       Phase = iota // looking at the model's files
	Downloading                 // fetching them; Progress tells how far
	Loading                     // reading them
	Serving                     // answering; set by Ready
	DownloadFailed              // they could not be fetched
	FilesUnfit                  // they cannot be used
	LoadFailed                  // loading them failed
	DeviceLost                  // the GPU failed for good; the process ends
	Draining                    // ending; nothing follows
)

// phases are the words of each phase: health is its status in /api/health,
// status the one in /api/status.
var phases = [...]struct{ health, status string }{
	Checking:       {"loading", "Checking model files..."},
	Downloading:    {"downloading", "Downloading model files..."},
	Loading:        {"loading", "initializing server"},
	Serving:        {"ok", "ready"},
	DownloadFailed: {"error", "Error downloading model files"},
	FilesUnfit:     {"error", "Model configuration not found"},
	LoadFailed:     {"error", "Model initialization FAILED"},
	DeviceLost:     {"error", "the GPU failed"},
	Draining:       {"draining", "shutting down"},
}

// String is the phase as /api/status words it.
func (p Phase) String() string { return phases[p].status }

// state is what the handlers need to know; a value is never changed.
type state struct {
	phase    Phase
	loaded   Loaded    // set while Serving and Draining
	progress *Progress // set while Downloading
}

type snapshot = atomic.Pointer[state]

// SetPhase changes the phase. After Draining it does nothing.
func (s *Server) SetPhase(p Phase) { s.change(func(st *state) { st.phase = p }) }

// Progress is how far a download is.
type Progress struct {
	Files, FilesDone int
	Bytes, Total     int64         // Total is 0 while it is not known
	Rate             float64       // bytes a second
	Left             time.Duration // 0 is not known
}

// Download puts the server into phase Downloading and tells clients how far the
// download is.
func (s *Server) Download(p Progress) {
	s.change(func(st *state) { st.phase, st.progress = Downloading, &p })
}

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
	if next.phase != Downloading {
		next.progress = nil
	}
	s.now.Store(&next)
}
