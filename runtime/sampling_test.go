package runtime

import (
	"math"
	"testing"
)

// The known answers of Random123 (kat_vectors, philox4x32 10).
func TestPhilox(t *testing.T) {
	for _, c := range []struct {
		counter [4]uint32
		key     [2]uint32
		want    [4]uint32
	}{
		{[4]uint32{}, [2]uint32{}, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{
			[4]uint32{math.MaxUint32, math.MaxUint32, math.MaxUint32, math.MaxUint32}, [2]uint32{math.MaxUint32, math.MaxUint32},
			[4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
		},
		{
			[4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, [2]uint32{0xa4093822, 0x299f31d0},
			[4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1},
		},
	} {
		if got := Philox(c.counter, c.key); got != c.want {
			t.Errorf("philox of %x, %x is %x, want %x", c.counter, c.key, got, c.want)
		}
	}
}

func TestUniformLiesBetweenZeroAndOne(t *testing.T) {
	sum, n := 0.0, 1<<16
	for id := range n {
		u := Uniform(0x9e3779b97f4a7c15, 7, uint32(id))
		if !(u > 0 && u < 1) || math.IsInf(math.Log(-math.Log1p(-float64(u))), 0) {
			t.Fatalf("id %d: %v", id, u)
		}
		sum += float64(u)
	}
	// the mean of n uniform numbers deviates by 1/√(12n)
	if d := sum/float64(n) - 0.5; math.Abs(d) > 5/math.Sqrt(12*float64(n)) {
		t.Errorf("the mean is 0.5 + %g", d)
	}
}

func TestSamplingFitsItsArena(t *testing.T) {
	for _, c := range [][4]int{{1, 1, 1, 0}, {3, 2, 100, 5}, {64, 64, 32064, 20}} {
		bytes := SamplingBytes(c[0], c[1], c[2], c[3])
		used := int64(0)
		a := &Arena{Name: "a", Bytes: bytes, Take: func(rows, cols int, d DType) (Tensor, error) {
			used += ArenaBytes(rows, cols, d)
			return NewTensor(1, rows, cols, cols, d, Decode, 0), nil
		}}
		p := NewSampling(a, c[0], c[1], c[2], c[3])
		if used != bytes {
			t.Errorf("%v: %d bytes are used of %d", c, used, bytes)
		}
		if f := p.First(1); f.Rows.Rows != 1 || f.Tokens.Rows != 1 || f.Tokens.Cols != 1+c[3] || f.Params.Rows != c[0] {
			t.Errorf("%v: the first row's view is %+v", c, f)
		}
	}
}

func TestCachesThatNobodyCanMake(t *testing.T) {
	good := CacheSpec{Layers: 1, Blocks: 1, KVHeads: 1, Dim: 1, Type: BF16}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*CacheSpec){
		"no layers": func(s *CacheSpec) { s.Layers = 0 }, "no blocks": func(s *CacheSpec) { s.Blocks = -1 }, "no heads": func(s *CacheSpec) { s.KVHeads = 0 },
		"no channels": func(s *CacheSpec) { s.Dim = 0 }, "too many channels": func(s *CacheSpec) { s.Dim = 513 }, "bytes": func(s *CacheSpec) { s.Type = U8 },
	} {
		s := good
		change(&s)
		if s.Check() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
