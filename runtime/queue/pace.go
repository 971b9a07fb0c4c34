package queue

import "time"

// pace measures how fast the worker computes: cost per second over whole
// batches, averaged with an exponential weight.
type pace struct {
	rate  float64   // cost per second; 0: not measured yet
	since time.Time // the start of the running batch; zero: the worker is idle
	cost  int       // of the running batch
}

// paceWeight is the weight of the newest sample.
const paceWeight = 0.2

// begin records that jobs of this cost went to the worker. They may join a
// batch that runs.
func (p *pace) begin(now time.Time, cost int) {
	if p.since.IsZero() {
		p.since, p.cost = now, 0
	}
	p.cost += cost
}

// end records that the worker is idle; whole says that it computed all of the
// batch, which makes it a sample.
func (p *pace) end(now time.Time, whole bool) {
	if d := now.Sub(p.since).Seconds(); whole && !p.since.IsZero() && d > 0 && p.cost > 0 {
		r := float64(p.cost) / d
		if p.rate == 0 {
			p.rate = r
		} else {
			p.rate += paceWeight * (r - p.rate)
		}
	}
	p.since, p.cost = time.Time{}, 0
}

// known says whether anything was measured that an estimate could rest on.
func (p *pace) known() bool { return p.rate > 0 || !p.since.IsZero() }

// wait is how long it takes until the running batch and this cost behind it
// are done. A batch that has taken longer than it should is believed to need
// as long again as it is late; the first of all, as long as it has run.
func (p *pace) wait(now time.Time, cost int) time.Duration {
	left, rate := 0.0, p.rate
	if !p.since.IsZero() {
		elapsed := max(now.Sub(p.since).Seconds(), 0)
		if rate > 0 {
			left = float64(p.cost)/rate - elapsed
			left = max(left, -left)
		} else {
			left = elapsed
			if elapsed > 0 {
				rate = float64(p.cost) / (2 * elapsed)
			}
		}
	}
	if rate > 0 {
		left += float64(cost) / rate
	}
	return time.Duration(min(left, maxWait.Seconds()) * float64(time.Second))
}

// maxWait bounds an estimate: beyond it none means anything.
const maxWait = 24 * time.Hour
