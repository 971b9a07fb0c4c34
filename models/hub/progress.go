package hub

import (
	"sync"
	"time"
)

// Phase is what a Fetch is doing.
type Phase string

const (
	Listing     Phase = "listing"     // asking the Hub what there is
	Checking    Phase = "checking"    // comparing with what is on disk
	Downloading Phase = "downloading" // of at least one file
	Done        Phase = "done"
)

// Progress is how far a Fetch is.
type Progress struct {
	Phase     Phase
	File      string // the one that moved last
	Files     int    // of the selection
	FilesDone int
	Bytes     int64         // that are there, also from before
	Total     int64         // of the selection
	Rate      float64       // bytes per second, smoothed over some 5 s
	ETA       time.Duration // 0 while it is not known
}

// reportEvery is how often progress is told at most; every finished file and
// every phase is told too.
const reportEvery = 100 * time.Millisecond

// smoothing is the time constant of the rate.
const smoothing = 5 * time.Second

// meter counts and tells.
type meter struct {
	report func(Progress)
	now    func() time.Time

	mu     sync.Mutex // also of the calls of report
	p      Progress
	told   time.Time
	ticked time.Time // of the last change of the rate
	since  int64     // bytes received after ticked
	got    int64     // bytes received in all
}

func newMeter(report func(Progress), now func() time.Time) *meter {
	return &meter{report: report, now: now}
}

func (m *meter) phase(ph Phase) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.p.Phase = ph
	m.ticked = m.now()
	m.tell()
}

// total says what the selection is.
func (m *meter) total(files int, bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.p.Files, m.p.Total = files, bytes
	m.tell()
}

// there counts bytes that are on disk already, fewer where they were no good.
func (m *meter) there(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.p.Bytes += n
}

// received counts bytes of the network.
func (m *meter) received(file string, n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.p.File = file
	m.p.Bytes += n
	m.got += n
	m.since += n
	now := m.now()
	if dt := now.Sub(m.ticked); dt >= reportEvery {
		rate := float64(m.since) / dt.Seconds()
		// The weight of an interval grows with its length; the first counts whole.
		w := min(1, dt.Seconds()/smoothing.Seconds())
		if m.p.Rate == 0 {
			w = 1
		}
		m.p.Rate += w * (rate - m.p.Rate)
		m.ticked, m.since = now, 0
		m.p.ETA = 0
		if m.p.Rate > 0 {
			seconds := float64(m.p.Total-m.p.Bytes) / m.p.Rate
			m.p.ETA = time.Duration(min(max(seconds, 0), 1e9) * float64(time.Second))
		}
	}
	if now.Sub(m.told) >= reportEvery {
		m.tell()
	}
}

// extra counts bytes of the network that are no progress yet: of files that
// are read before it is known what is to come.
func (m *meter) extra(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.got += n
}

// done counts a finished file.
func (m *meter) done(file string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.p.File = file
	m.p.FilesDone++
	m.tell()
}

func (m *meter) tell() {
	m.told = m.now()
	if m.report != nil {
		m.report(m.p)
	}
}

func (m *meter) bytes() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.got
}
