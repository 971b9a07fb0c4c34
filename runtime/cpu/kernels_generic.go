package cpu

import (
	"math"
	goruntime "runtime"
	"unsafe"

	"remote-client-server/runtime"
)

// The portable kernels: what every other family is tested against, and all there is where there is no assembly.

const genericRows, genericColumns, genericLanes = 4, 16, 4

func genericKernels() kernels {
	k := kernels{
		addBias: func(dst, src, bias unsafe.Pointer, n int) {
			d, s, b := floats(dst, n), floats(src, n), floats(bias, n)
			for i := range d {
				d[i] += s[i] + b[i]
			}
		},
		add: func(dst, src unsafe.Pointer, n int) {
			d, s := floats(dst, n), floats(src, n)
			for i := range d {
				d[i] += s[i]
			}
		},
		scale: func(dst, src unsafe.Pointer, n int, c float32) {
			d, s := floats(dst, n), floats(src, n)
			for i := range d {
				d[i] = s[i] * c
			}
		},
		scaleRows: func(dst unsafe.Pointer, dstStride int, src unsafe.Pointer, srcStride int, factors unsafe.Pointer, step, rows, n int) {
			for r := range rows {
				c := *(*float32)(unsafe.Add(factors, r*step))
				d, s := floats(unsafe.Add(dst, r*dstStride), n), floats(unsafe.Add(src, r*srcStride), n)
				for i := range d {
					d[i] = s[i] * c
				}
			}
		},
		cap: func(dst, src unsafe.Pointer, n int, c float32) {
			d, s := floats(dst, n), floats(src, n)
			for i := range d {
				d[i] = c * float32(math.Tanh(float64(s[i]/c)))
			}
		},
		sum: func(src unsafe.Pointer, n int) float32 {
			var t float64
			for _, x := range floats(src, n) {
				t += float64(x)
			}
			return float32(t)
		},
		squares: func(src unsafe.Pointer, n int, mean float32) float32 {
			var t float64
			for _, x := range floats(src, n) {
				d := float64(x) - float64(mean)
				t += d * d
			}
			return float32(t)
		},
		affine: func(dst, src, w, b unsafe.Pointer, n int, mean, rstd float32) {
			d, s, g, h := floats(dst, n), floats(src, n), floats(w, n), floats(b, n)
			for i := range d {
				d[i] = float32((s[i]-mean)*rstd*g[i]) + h[i]
			}
		},
		softmax: genericSoftmax,
		rotate:  genericRotate,
		largest: genericLargest,
		classes: func(dst, src unsafe.Pointer, blocks int) {
			d, s := floats(dst, 16*blocks), floats(src, classBlock*blocks)
			for i := range d {
				block := s[i/16*classBlock:][:classBlock]
				d[i] = block[i%16]
				for j := i % 16; j < classBlock; j += 16 {
					d[i] = max(d[i], block[j])
				}
			}
		},
		divide: func(dst, src unsafe.Pointer, n int, c float32) {
			d, s := floats(dst, n), floats(src, n)
			for i := range d {
				d[i] = s[i] / c
			}
		},
		uniforms:  genericUniforms,
		prefetch:  func(unsafe.Pointer, int) {},
		transpose: genericTranspose,
		dequantize8: func(dst unsafe.Pointer, stride int, w unsafe.Pointer, blocks int) {
			genericDequantize(dst, stride, w, blocks, 8)
		},
		dequantize4: func(dst unsafe.Pointer, stride int, w unsafe.Pointer, blocks int) {
			genericDequantize(dst, stride, w, blocks, 4)
		},
		peakFMA: genericPeak,
		read:    genericRead,
	}
	for a := range k.act {
		f := activation(runtime.Act(a))
		k.act[a] = func(dst, src, bias unsafe.Pointer, n int) {
			d, s, b := floats(dst, n), floats(src, n), floats(bias, n)
			for i := range d {
				d[i] = f(s[i] + b[i])
			}
		}
		k.gate[a] = func(dst, src, bias unsafe.Pointer, n int) {
			for ; n > 0; n -= 16 {
				d, s, b := floats(dst, 16), floats(src, 32), floats(bias, 32)
				for i := range d {
					d[i] = f(s[i]+b[i]) * (s[16+i] + b[16+i])
				}
				dst, src, bias = at(dst, 16), at(src, 32), at(bias, 32)
			}
		}
	}
	for mr := 1; mr <= genericRows; mr++ {
		k.f32 = append(k.f32, genericGemm(mr, 4, func(row []float32, b unsafe.Pointer, _ int) {
			copy(row, floats(b, genericColumns))
		}))
		k.bf16 = append(k.bf16, genericGemm(mr, 2, func(row []float32, b unsafe.Pointer, k int) {
			pairs := unsafe.Slice((*uint32)(unsafe.Add(b, -k%2*genericColumns*2)), genericColumns)
			for i, p := range pairs {
				row[i] = math.Float32frombits(p >> (16 * (k % 2)) << 16)
			}
		}))
		k.f16 = append(k.f16, genericGemm(mr, 2, func(row []float32, b unsafe.Pointer, _ int) {
			for i, h := range unsafe.Slice((*uint16)(b), genericColumns) {
				row[i] = runtime.F16ToF32(h)
			}
		}))
	}
	return k
}

// activation is the scalar function, computed in float64.
func activation(a runtime.Act) func(float32) float32 {
	in64 := func(f func(x float64) float64) func(float32) float32 {
		return func(x float32) float32 { return float32(f(float64(x))) }
	}
	sigmoid := func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
	switch a {
	case runtime.ReLU:
		return func(x float32) float32 { return max(x, 0) }
	case runtime.Tanh:
		return in64(math.Tanh)
	case runtime.Sigmoid:
		return in64(sigmoid)
	case runtime.SiLU:
		return in64(func(x float64) float64 { return x * sigmoid(x) })
	case runtime.GELU:
		return in64(func(x float64) float64 { return x * 0.5 * math.Erfc(-x/math.Sqrt2) })
	case runtime.GELUTanh:
		return in64(func(x float64) float64 { return x * sigmoid(2*math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)) })
	case runtime.QuickGELU:
		return in64(func(x float64) float64 { return x * sigmoid(1.702*x) })
	}
	return func(x float32) float32 { return x }
}

// genericGemm makes the micro-kernel of mr rows; widen reads row k of the panel, size bytes a weight.
func genericGemm(mr, size int, widen func(row []float32, b unsafe.Pointer, k int)) microKernel {
	return func(kc int, a, b, c unsafe.Pointer, ldc, acc int) {
		var sum [genericRows][genericColumns]float32
		var row [genericColumns]float32
		if acc != 0 {
			for r := range mr {
				copy(sum[r][:], floats(at(c, r*ldc), genericColumns))
			}
		}
		for k := range kc {
			widen(row[:], unsafe.Add(b, k*genericColumns*size), k)
			for r := range mr {
				x := *(*float32)(unsafe.Add(a, r*tileStride+k*4))
				s := &sum[r]
				for i := range s {
					s[i] += float32(x * row[i]) // rounded twice on every architecture
				}
			}
		}
		for r := range mr {
			copy(floats(at(c, r*ldc), genericColumns), sum[r][:])
		}
	}
}

func genericSoftmax(s, state unsafe.Pointer, rows, n int) {
	for r := range rows {
		x := floats(unsafe.Add(s, r*tileStride), n)
		st := (*softmaxState)(unsafe.Add(state, r*int(unsafe.Sizeof(softmaxState{}))))
		top := st.max
		for _, v := range x {
			top = max(top, v)
		}
		var sum float64
		for i, v := range x {
			x[i] = float32(math.Exp(float64(v - top)))
			sum += float64(x[i])
		}
		st.shrink = float32(math.Exp(float64(st.max - top)))
		st.sum = float32(float64(st.sum)*float64(st.shrink) + sum)
		st.max = top
	}
}

func genericRotate(dst, src, angles unsafe.Pointer, half int) {
	d, s, a := floats(dst, 2*half), floats(src, 2*half), floats(angles, 2*half)
	for i := range half {
		x, y, cos, sin := s[i], s[half+i], a[i], a[half+i]
		d[i] = float32(x*cos) - float32(y*sin)
		d[half+i] = float32(y*cos) + float32(x*sin)
	}
}

func genericLargest(out, src unsafe.Pointer, n int) {
	top, bits := float32(math.Inf(-1)), uint32(0)
	for _, v := range floats(src, n) {
		if v > top {
			top = v
		}
		bits = max(bits, math.Float32bits(v)&^(1<<31))
	}
	for i, tops, words := 0, floats(out, 32), unsafe.Slice((*uint32)(out), 32); i < genericLanes; i++ {
		tops[i], words[16+i] = top, bits
	}
}

func genericUniforms(dst, state unsafe.Pointer, blocks int) {
	s, u := (*uniformState)(state), floats(dst, 4*genericLanes*blocks)
	for ; len(u) > 0; u = u[4*genericLanes:] {
		for lane := range genericLanes {
			words := runtime.Philox([4]uint32{s.counters[lane], s.step}, s.seed)
			for i, word := range words {
				u[i*genericLanes+lane] = uniform(word)
			}
			s.counters[lane] += genericLanes
		}
	}
}

func genericTranspose(dst unsafe.Pointer, dstStride int, src unsafe.Pointer, srcStride, n int) {
	for r := range 16 {
		for i, v := range unsafe.Slice((*uint32)(unsafe.Add(src, r*srcStride)), n) {
			*(*uint32)(unsafe.Add(dst, i*dstStride+r*4)) = v
		}
	}
}

// genericDequantize widens blocks of a 16-column panel to float32 rows, stride bytes apart.
func genericDequantize(dst unsafe.Pointer, stride int, w unsafe.Pointer, blocks, bits int) {
	size := quantBytes(bits)
	for b := range blocks {
		block := unsafe.Slice((*byte)(unsafe.Add(w, b*size)), size)
		for c := range 16 {
			s := size - 32 + 2*c
			scale := runtime.F16ToF32(uint16(block[s]) | uint16(block[s+1])<<8)
			for k := range quantBlock {
				var q int
				if bits == 8 {
					q = int(block[k/4*64+c*4+k%4]) - 128
				} else {
					q = int(block[k/4%4*64+c*4+k%4]>>(k/16*4)&15) - 8
				}
				*(*float32)(unsafe.Add(dst, (b*quantBlock+k)*stride+c*4)) = float32(q) * scale
			}
		}
	}
}

// genericPeak does 48 times 4 multiply-adds an iteration, as the vector loops do 48 instructions.
func genericPeak(n int) {
	var a, b, c, d float32
	for range n {
		for range 48 {
			a += 1.5 * a
			b += 1.5 * b
			c += 1.5 * c
			d += 1.5 * d
		}
	}
	goruntime.KeepAlive(a + b + c + d)
}

func genericRead(src unsafe.Pointer, blocks int) {
	t := uint64(0)
	for _, x := range unsafe.Slice((*uint64)(src), blocks*64) {
		t += x
	}
	goruntime.KeepAlive(t)
}
