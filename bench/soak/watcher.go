package main

import (
	"time"

	"remote-client-server/bench/load/report"
	"remote-client-server/bench/load/stats"
	"remote-client-server/bench/load/target"
)

// sample is what the server held at one moment.
type sample struct {
	at                      time.Time
	rss                     float64 // bytes
	goroutines, descriptors int
}

// watcher looks at the server once a second, over one connection.
type watcher struct {
	s       *target.Server
	conn    *target.Conn
	first   target.Metrics // before the load
	begin   sample
	samples []sample
	scrapes int // pages that were read, first included
}

func newWatcher(s *target.Server) (*watcher, error) {
	conn, err := s.Dial()
	if err != nil {
		return nil, err
	}
	w := &watcher{s: s, conn: conn}
	if w.first, err = conn.Metrics(); err == nil {
		w.scrapes++
		w.begin, err = w.look()
	}
	return w, err
}

func (w *watcher) look() (sample, error) {
	page, err := w.conn.Metrics()
	if err != nil {
		return sample{}, err
	}
	w.scrapes++
	rss, err := w.s.RSS()
	return sample{time.Now(), rss, int(page.Value("go_goroutines")), int(page.Value("process_open_fds"))}, err
}

// watch samples for as long and tells of each sample.
func (w *watcher) watch(length time.Duration, tell func(sample)) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for end := time.Now().Add(length); time.Now().Before(end); <-tick.C {
		now, err := w.look()
		if err != nil {
			return err
		}
		w.samples = append(w.samples, now)
		tell(now)
	}
	return nil
}

// limit is the steepest rise of memory, in bytes an hour. An hour may show 1
// MB. A shorter time cannot show so little beside the garbage collector's ups
// and downs: there it is what would make 3 MB in the whole time.
func limit(length time.Duration) float64 {
	if length >= time.Hour {
		return 1e6
	}
	return 3e6 / length.Hours()
}

// blocks is how many means of neighbouring samples the line is laid through.
const blocks = 20

// memory judges the rise after the first sixth of the time. It counts as one
// only when it is significant: when the lower bound of its confidence is above
// the limit.
func (w *watcher) memory(length time.Duration) []report.Measure {
	after := w.samples[len(w.samples)/6:]
	var hours, rss []float64
	most := 0.0
	for _, s := range after {
		hours = append(hours, s.at.Sub(after[0].at).Hours())
		rss = append(rss, s.rss)
		most = max(most, s.rss)
	}
	line := stats.Fit(stats.Blocks(hours, blocks), stats.Blocks(rss, blocks))
	measures := []report.Measure{
		report.Plain("memory before the load", w.begin.rss/1e6, "MB"),
		report.Plain("memory after warm-up", rss[0]/1e6, "MB"),
		report.Plain("memory at the end", rss[len(rss)-1]/1e6, "MB"),
		report.Plain("memory at most", most/1e6, "MB"),
	}
	if len(rss) < 3 {
		return measures // no line
	}
	return append(measures,
		report.Plain("rise of memory", line.Slope/1e6, "MB/h"),
		report.AtMost("rise of memory, lower bound", line.Low/1e6, "MB/h", limit(length)/1e6),
		report.Plain("rise of memory, upper bound", line.High/1e6, "MB/h"))
}

// Goroutines and descriptors that may be left: the runtime starts its own when
// it first needs them.
const (
	spareGoroutines  = 3
	spareDescriptors = 2
	settleTime       = 30 * time.Second
)

// settle waits until the server is back where it began.
func (w *watcher) settle() ([]report.Measure, error) {
	var now sample
	for end := time.Now().Add(settleTime); ; time.Sleep(500 * time.Millisecond) {
		var err error
		if now, err = w.look(); err != nil {
			return nil, err
		}
		if now.goroutines <= w.begin.goroutines+spareGoroutines && now.descriptors <= w.begin.descriptors+spareDescriptors || time.Now().After(end) {
			break
		}
	}
	return []report.Measure{
		report.Plain("goroutines before", float64(w.begin.goroutines), ""),
		report.AtMost("goroutines after", float64(now.goroutines), "", float64(w.begin.goroutines+spareGoroutines)),
		report.Plain("descriptors before", float64(w.begin.descriptors), ""),
		report.AtMost("descriptors after", float64(now.descriptors), "", float64(w.begin.descriptors+spareDescriptors)),
		report.Plain("memory after the load", now.rss/1e6, "MB"),
	}, nil
}
