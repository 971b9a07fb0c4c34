package runtime

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

func TestViewsKeepTheirPlaceInMemory(t *testing.T) {
	x := NewTensor(1000, 6, 10, 12, F32, Decode, 3)
	for name, c := range map[string]struct {
		got                   Tensor
		addr                  uintptr
		rows, columns, stride int
	}{
		"rows":             {x.Slice(2, 5), 1000 + 2*12*4, 3, 10, 12},
		"columns":          {x.Columns(3, 7), 1000 + 3*4, 6, 4, 12},
		"columns of rows":  {x.Slice(1, 2).Columns(9, 10), 1000 + 12*4 + 9*4, 1, 1, 12},
		"no rows":          {x.Slice(6, 6), 1000 + 6*12*4, 0, 10, 12},
		"one row, reshape": {x.Slice(0, 1).Reshape(5, 2), 1000, 5, 2, 2},
		"a repeated row":   {x.Slice(4, 5).Repeat(7), 1000 + 4*12*4, 7, 10, 0},
	} {
		if c.got.Addr() != c.addr || c.got.Rows != c.rows || c.got.Cols != c.columns || c.got.Stride() != c.stride ||
			c.got.Phase() != Decode || c.got.Life() != 3 {
			t.Errorf("%s: %+v", name, c.got)
		}
	}
	a, b, c := x.Split(2, 3, 5)
	if a.Cols != 2 || b.Addr() != 1000+8 || c.Addr() != 1000+20 {
		t.Errorf("split: %+v %+v %+v", a, b, c)
	}
	for name, f := range map[string]func(){
		"rows past the end":   func() { x.Slice(0, 7) },
		"negative columns":    func() { x.Columns(-1, 2) },
		"a split of 9":        func() { x.Split(2, 3, 4) },
		"reshape with gaps":   func() { x.Reshape(10, 6) },
		"a repeated matrix":   func() { x.Repeat(2) },
		"a reversed interval": func() { x.Slice(3, 2) },
	} {
		func() {
			defer func() {
				if _, ok := recover().(ShapeError); !ok {
					t.Errorf("%s: no ShapeError", name)
				}
			}()
			f()
		}()
	}
}

func TestSources(t *testing.T) {
	s := FloatSource("w", 3, []float32{1, 2, 3, 4, 5, 6})
	if got := fmt.Sprint(s.Transpose().Floats()); got != "[1 3 5 2 4 6]" {
		t.Errorf("transposed: %s", got)
	}
	if got := fmt.Sprint(s.Transpose().RowRange(1, 2).Floats()); got != "[2 4 6]" {
		t.Errorf("a row of the transposed: %s", got)
	}
	if got := fmt.Sprint(s.RowRange(1, 3).Floats()); got != "[3 4 5 6]" {
		t.Errorf("rows: %s", got)
	}
	if s.Transpose().RowBytes(0) != nil || len(s.RowBytes(2)) != 8 {
		t.Error("bytes of rows")
	}
	if _, err := NewSource("w", 2, 2, F16, make([]byte, 7)); err == nil {
		t.Error("7 bytes make four float16")
	}
	if _, err := NewSource("w", 1, 1, I32, make([]byte, 4)); err == nil {
		t.Error("an int32 is a weight")
	}
}

// device counts what a Stack holds.
type device struct {
	next  uintptr
	held  int64
	limit int64
}

func (d *device) stack(poison *[][2]int64) *Stack {
	return &Stack{
		Alloc: func(n int64) (uintptr, error) {
			if d.held+n > d.limit {
				return 0, errors.New("none left")
			}
			d.held += n
			d.next += 1 << 40
			return d.next, nil
		},
		Free:   func(_ uintptr, n int64) { d.held -= n },
		Poison: func(addr uintptr, n int64) { *poison = append(*poison, [2]int64{int64(addr), n}) },
	}
}

func TestStackRepeatsAddressesAndGivesBackAll(t *testing.T) {
	d := &device{limit: 1 << 30}
	var poison [][2]int64
	s := d.stack(&poison)
	push := func(sizes ...int64) (addrs []uintptr) {
		for _, n := range sizes {
			addrs = append(addrs, s.Push("x", n))
		}
		return addrs
	}
	base := push(100)
	m := s.Mark()
	first := push(1, slabBytes, 300, 5<<20, 5<<20)
	s.Release(m)
	if len(poison) == 0 {
		t.Error("nothing was poisoned")
	}
	held := d.held
	m = s.Mark()
	if again := push(1, slabBytes, 300, 5<<20, 5<<20); !slices.Equal(first, again) || d.held != held {
		t.Errorf("addresses %x, first %x; %d bytes, first %d", again, first, d.held, held)
	}
	s.Release(m)
	if next := push(100)[0]; next != base[0]+alignment {
		t.Errorf("after the release %#x follows %#x", next, base[0])
	}
	if s.Bytes() != d.held {
		t.Errorf("the stack says %d bytes, the device %d", s.Bytes(), d.held)
	}
	s.Close()
	if d.held != 0 {
		t.Errorf("%d bytes are left", d.held)
	}
}

func TestStackWithoutMemoryPanicsAndGoesOn(t *testing.T) {
	d := &device{limit: 10 << 20}
	var poison [][2]int64
	s := d.stack(&poison)
	s.Push("x", 1)
	func() {
		defer func() {
			e, ok := recover().(OutOfMemory)
			if !ok || e.What != "a large thing" || e.Want < 20<<20 {
				t.Errorf("panic %+v", e)
			}
		}()
		s.Push("a large thing", 20<<20)
	}()
	s.Push("x", 1)
}
