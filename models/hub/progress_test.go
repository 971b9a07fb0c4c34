package hub

import (
	"math"
	"testing"
	"time"
)

func TestTheRateIsSmoothedAndGivesTheTimeLeft(t *testing.T) {
	now := time.Unix(1e9, 0)
	var last Progress
	reports := 0
	m := newMeter(func(p Progress) { last = p; reports++ }, func() time.Time { return now })
	m.total(1, 30e6)
	m.phase(Downloading)
	receive := func(seconds int, perSecond int64) {
		for range seconds * 10 {
			now = now.Add(100 * time.Millisecond)
			m.received("x", perSecond/10)
		}
	}
	receive(10, 1e6)
	if math.Abs(last.Rate-1e6) > 1 || last.Bytes != 10e6 || last.ETA.Round(time.Second) != 20*time.Second || last.Phase != Downloading {
		t.Errorf("%+v", last)
	}
	receive(5, 2e6) // after one time constant a step is taken by 1 - 1/e
	if want := 1e6 + 1e6*(1-math.Exp(-1)); math.Abs(last.Rate-want) > 2e4 {
		t.Errorf("rate %.0f, not %.0f", last.Rate, want)
	}
	receive(5, 2e6)
	if last.Bytes != 30e6 || last.ETA != 0 {
		t.Errorf("%+v", last)
	}
	before := reports
	for range 1000 { // within an instant nothing more is told
		m.received("x", 1)
	}
	if reports != before {
		t.Errorf("%d reports in an instant", reports-before)
	}
}
