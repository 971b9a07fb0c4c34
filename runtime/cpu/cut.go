package cpu

import "math"

// cutter finds thresholds without sorting: three rounds of counting by digits of the logits' bits, the highest first, of
// which each goes on with what shares the digit where the sum of weights is reached.
type cutter struct {
	bins    *[cutBins]float64
	entries []entry // room for all
	left    []entry
}

type entry struct {
	key    uint32
	weight float32
}

const (
	cutBits = 11
	cutBins = 1 << cutBits
)

// ordered maps floats to integers of the same order.
func ordered(f float32) uint32 {
	u := math.Float32bits(f)
	return u ^ (uint32(int32(u)>>31) | 1<<31)
}

func unordered(k uint32) float32 {
	if k>>31 == 1 {
		return math.Float32frombits(k ^ 1<<31)
	}
	return math.Float32frombits(^k)
}

// of takes the values of z that ids names, or all of them, with their weights: 1 each where p is nil.
func (c *cutter) of(z, p []float32, ids []int32) *cutter {
	n := len(ids)
	if ids == nil {
		n = len(z)
	}
	c.left = c.entries[:n]
	for i := range c.left {
		id := i
		if ids != nil {
			id = int(ids[i])
		}
		e := entry{ordered(z[id]), 1}
		if p != nil {
			e.weight = p[id]
		}
		c.left[i] = e
	}
	return c
}

// cut is the largest threshold at which the weights of all values at or above it reach the target; at most the largest
// value, at least the smallest.
func (c *cutter) cut(target float64) float32 {
	above := 0.0
	for _, shift := range []int{32 - cutBits, 32 - 2*cutBits, 0} {
		clear(c.bins[:])
		least, most := uint32(cutBins), uint32(0)
		for _, e := range c.left {
			d := e.key >> shift % cutBins
			c.bins[d] += float64(e.weight)
			least, most = min(least, d), max(most, d)
		}
		d := most
		for ; d > least && above+c.bins[d] < target; d-- {
			above += c.bins[d]
		}
		n := 0
		for _, e := range c.left {
			if e.key>>shift%cutBins == d {
				c.left[n] = e
				n++
			}
		}
		c.left = c.left[:n]
	}
	return unordered(c.left[0].key)
}
