package queue

import "time"

// pace measures how fast the worker gets through the line: cost per second,
// averaged with an exponential weight. Only the time between two takes counts
// during which jobs were waiting; then the worker was at work all the while.
type pace struct {
	last    time.Time // of the last take
	cost    int       // taken then
	backlog bool      // jobs were left waiting then
	rate    float64   // cost per second; 0: not measured yet
}

// paceWeight is the weight of the newest sample.
const paceWeight = 0.2

// taken records that jobs of this cost left the line, and whether others stay.
func (p *pace) taken(now time.Time, cost int, backlog bool) {
	if p.backlog && p.cost > 0 {
		if d := now.Sub(p.last).Seconds(); d > 0 {
			r := float64(p.cost) / d
			if p.rate == 0 {
				p.rate = r
			} else {
				p.rate += paceWeight * (r - p.rate)
			}
		}
	}
	p.last, p.cost, p.backlog = now, cost, backlog
}

// time is how long work of this cost takes at the measured pace.
func (p *pace) time(cost int) time.Duration {
	if p.rate == 0 {
		return 0
	}
	return time.Duration(float64(cost) / p.rate * float64(time.Second))
}
