package cpu

import (
	"math"
	"unsafe"
)

// cutter finds thresholds without sorting: three rounds of counting by digits of the logits' bits, the highest first, of
// which each goes on with what shares the digit where the sum of weights is reached.
type cutter struct {
	z       []float32
	p       []float32 // weights; nil for 1 each
	bins    *[cutBins]float64
	entries []entry // room for all of z
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

// weight is the sum of the weights of z >= low.
func (c *cutter) weight(low float32) float64 {
	sum := 0.0
	for i, v := range c.z {
		if v >= low {
			sum += float64(c.p[i])
		}
	}
	return sum
}

// cut is the largest threshold for which the weights of all z at or above it reach the target; at least low, and at
// most the largest z.
func (c *cutter) cut(low float32, target float64) float32 {
	n := 0
	if c.p == nil {
		for _, v := range c.z {
			if v >= low {
				c.entries[n] = entry{ordered(v), 1}
				n++
			}
		}
	} else {
		for i, v := range c.z {
			if v >= low {
				c.entries[n] = entry{ordered(v), c.p[i]}
				n++
			}
		}
	}
	left, above := c.entries[:n], 0.0
	for _, shift := range []int{32 - cutBits, 32 - 2*cutBits, 0} {
		clear(unsafe.Slice(&c.bins[0], cutBins))
		least, most := uint32(cutBins), uint32(0)
		for _, e := range left {
			d := e.key >> shift % cutBins
			c.bins[d] += float64(e.weight)
			least, most = min(least, d), max(most, d)
		}
		d := most
		for ; d > least && above+c.bins[d] < target; d-- {
			above += c.bins[d]
		}
		n = 0
		for _, e := range left {
			if e.key>>shift%cutBins == d {
				left[n] = e
				n++
			}
		}
		left = left[:n]
	}
	return unordered(left[0].key)
}
