package queue

import (
	"math"
	"time"
)

// pace measures how long the worker takes: so much for each step, whatever it
// holds, and so much for each unit of cost. The two are the line of least
// squares through the steps so far, of which the newest count most; with one
// rate for all, small steps would make large ones look slow.
//
// A step is a batch, or a part of one that the worker tells about (progress).
type pace struct {
	// Sums over the steps: their weights, costs (x) and seconds (y).
	n, x, y, xx, xy float64
	most            float64 // cost of the largest step

	since time.Time // the start of the running step; zero: the worker is idle
	cost  int       // of the running batch, without what is done
}

const (
	// paceDecay is the weight that a step keeps when the next one comes.
	paceDecay = 0.95
	// paceSpread is how far costs must lie apart, as a share of their mean, for
	// a line to mean anything.
	paceSpread = 0.25
)

// sample adds a step.
func (p *pace) sample(cost int, took time.Duration) {
	x, y := float64(cost), took.Seconds()
	if cost <= 0 || took <= 0 {
		return
	}
	p.n = paceDecay*p.n + 1
	p.x = paceDecay*p.x + x
	p.y = paceDecay*p.y + y
	p.xx = paceDecay*p.xx + x*x
	p.xy = paceDecay*p.xy + x*y
	p.most = max(p.most, x)
}

// begin records that jobs of this cost went to the worker. They may join a
// batch that runs.
func (p *pace) begin(now time.Time, cost int) {
	if p.since.IsZero() {
		p.since, p.cost = now, 0
	}
	p.cost += cost
}

// progress records that the worker has done so much of the running batch.
func (p *pace) progress(now time.Time, cost int) {
	if p.since.IsZero() {
		return
	}
	cost = min(cost, p.cost)
	p.sample(cost, now.Sub(p.since))
	p.since, p.cost = now, p.cost-cost
}

// end records that the worker is idle; whole says that it computed all of the
// batch, which makes what is left of it a sample.
func (p *pace) end(now time.Time, whole bool) {
	if whole && !p.since.IsZero() {
		p.sample(p.cost, now.Sub(p.since))
	}
	p.since, p.cost = time.Time{}, 0
}

// known says whether anything was measured that an estimate could rest on.
func (p *pace) known() bool { return p.n > 0 }

// seconds is how long so much cost takes, in steps no larger than the largest
// so far.
func (p *pace) seconds(cost float64) float64 {
	if p.n == 0 || cost <= 0 {
		return 0
	}
	step, unit := 0.0, p.y/p.x
	if mean := p.x / p.n; p.xx/p.n-mean*mean > paceSpread*paceSpread*mean*mean {
		slope := (p.xy - p.x*p.y/p.n) / (p.xx - p.x*p.x/p.n)
		if at := (p.y - slope*p.x) / p.n; slope > 0 && at > 0 {
			step, unit = at, slope
		}
	}
	return step*math.Ceil(cost/p.most) + unit*cost
}

// wait is how long it takes until the running batch and this cost behind it
// are done. A step that has taken longer than it should is believed to need
// as long again as it is late; the first of all, as long as it has run.
func (p *pace) wait(now time.Time, cost int) time.Duration {
	left, behind := 0.0, p.seconds(float64(cost))
	if !p.since.IsZero() {
		elapsed := max(now.Sub(p.since).Seconds(), 0)
		if p.known() {
			left = p.seconds(float64(p.cost)) - elapsed
			left = max(left, -left)
		} else {
			left = elapsed
			if p.cost > 0 {
				behind = 2 * elapsed * float64(cost) / float64(p.cost)
			}
		}
	}
	return time.Duration(min(left+behind, maxWait.Seconds()) * float64(time.Second))
}

// maxWait bounds an estimate: beyond it none means anything.
const maxWait = 24 * time.Hour
