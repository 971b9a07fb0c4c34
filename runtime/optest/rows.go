package optest

import (
	"fmt"
	"testing"

	"remote-client-server/runtime"
)

func norms(t *testing.T, c Config) {
	w := newTwins(t, c, c.DTypes[0])
	for _, kind := range []runtime.NormKind{runtime.LayerNorm, runtime.RMSNorm, runtime.L2Norm} {
		for _, affine := range []bool{false, true} {
			for _, s := range [][2]int{{0, 8}, {1, 3}, {2, 16}, {3, 17}, {5, 100}, {33, 768}, {2, 1025}} {
				if kind == runtime.L2Norm && affine {
					continue
				}
				n, slow := w.norm(kind, s[1], affine, 1e-12)
				x := w.random(s[0], s[1], 3)
				w.same(fmt.Sprintf("kind %d %s", kind, shapeName(s[0], s[1])), operand{w.fast.Norm(x.fast, n), w.slow.Norm(x.slow, slow)})
			}
		}
	}
	// a large mean beside a small deviation: a one-pass variance loses all its digits
	v := w.floats(3*300, 1e-2)
	for i := range v {
		v[i] += 100
	}
	n, slow := w.norm(runtime.LayerNorm, 300, true, 1e-12)
	x := w.tensor(3, 300, 1, v)
	w.tol = 1e-3 // of float32's own rounding of the input's deviations
	w.same("a large mean", operand{w.fast.Norm(x.fast, n), w.slow.Norm(x.slow, slow)})
}

func embed(t *testing.T, c Config) {
	for _, d := range []runtime.DType{runtime.F32, runtime.F16, runtime.BF16} {
		for _, h := range []int{1, 6, 32, 100} {
			w := newTwins(t, c, c.DTypes[0])
			n, slow := w.norm(runtime.LayerNorm, h, true, 1e-5)
			word, pos, kind := w.source("word", 50, h, d, 1), w.source("pos", 20, h, d, 1), w.source("type", 2, h, d, 1)
			for name, s := range map[string]runtime.TableSpec{
				"words":                     {Word: word},
				"scaled words":              {Word: word, Scale: 3.5},
				"words, positions":          {Word: word, Position: pos},
				"words, types":              {Word: word, Type: kind.RowRange(1, 2)},
				"words, positions and type": {Word: word, Position: pos, Type: kind.RowRange(0, 1)},
			} {
				for _, normed := range []bool{false, h > 2} {
					fs, ss := s, s
					if normed {
						fs.Norm, ss.Norm = n, slow
					}
					ft, st := must(w.fastLoad.Table(fs))(t), must(w.slowLoad.Table(ss))(t)
					ids := w.ints(9, 1, []int32{0, 49, 7, -1, 7, 3, -1, 48, 1})
					lens, at := []int{4, 0, 5}, []int32{0, 1, 2, 3, 15, 16, 17, 18, 19}
					w.same(fmt.Sprintf("%s, %v, width %d", name, d, h), operand{
						w.fast.Embed(ids.fast, runtime.Pack(w.fast, lens, at), ft),
						w.slow.Embed(ids.slow, runtime.Pack(w.slow, lens, at), st)})
				}
			}
			table := must(w.fastLoad.Table(runtime.TableSpec{Word: word, Position: pos}))(t)
			one := []int{1}
			panics(t, "an id past the vocabulary", func() {
				w.fast.Embed(w.ints(1, 1, []int32{50}).fast, runtime.Pack(w.fast, one, nil), table)
			})
			panics(t, "a position past the table", func() {
				w.fast.Embed(w.ints(1, 1, []int32{5}).fast, runtime.Pack(w.fast, one, []int32{20}), table)
			})
		}
	}
}

func gather(t *testing.T, c Config) {
	w := newTwins(t, c, c.DTypes[0])
	for _, cols := range []int{1, 17, 64} {
		x := w.random(6, cols, 2)
		for _, rows := range [][]int32{{}, {0}, {5, 5, -1, 0, 3}} {
			r := w.ints(len(rows), 1, rows)
			w.same(fmt.Sprintf("%d columns, rows %v", cols, rows), operand{w.fast.Gather(x.fast, r.fast), w.slow.Gather(x.slow, r.slow)})
		}
		panics(t, "a row past the end", func() { w.fast.Gather(x.fast, w.ints(1, 1, []int32{6}).fast) })
	}
}

func pool(t *testing.T, c Config) {
	w := newTwins(t, c, c.DTypes[0])
	for _, cols := range []int{1, 5, 16, 70} {
		x := w.random(40, cols, 2)
		for how := runtime.PoolFirst; how <= runtime.PoolWeighted; how++ {
			ranges, wide := []int32{0, 1, 0, 40, 7, 7, 3, 20, 39, 40}, 2
			if how == runtime.PoolWeighted {
				ranges, wide = []int32{0, 1, 0, 0, 40, 0, 7, 7, 7, 3, 20, 1, 39, 40, 30}, 3
			}
			r := w.ints(5, wide, ranges)
			w.same(fmt.Sprintf("%v of %d columns", how, cols), operand{w.fast.Pool(x.fast, r.fast, how), w.slow.Pool(x.slow, r.slow, how)})
		}
		panics(t, "a range past the end", func() { w.fast.Pool(x.fast, w.ints(1, 2, []int32{0, 41}).fast, runtime.PoolMean) })
	}
}
