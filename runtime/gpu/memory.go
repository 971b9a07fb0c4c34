package gpu

import (
	"encoding/binary"
	"fmt"
	"math"

	"remote-client-server/cuda"
	"remote-client-server/runtime"
)

func (b *Backend) Mark() runtime.Mark { return b.stack.Mark() }

func (b *Backend) Release(m runtime.Mark) {
	b.stack.Release(m)
	b.used.Store(b.stack.Used())
	life := b.stack.Life()
	for n := len(b.shadows); n > 0 && b.shadows[n-1].life > life; n-- {
		b.shadows = b.shadows[:n-1]
	}
}

func (b *Backend) Scratch(rows, cols int, t runtime.DType) runtime.Tensor {
	return b.scratchOf(rows, cols, t, runtime.Prefill)
}

func (b *Backend) scratchOf(rows, cols int, t runtime.DType, phase runtime.Phase) runtime.Tensor {
	return b.padded(rows, cols, cols, t, phase)
}

// padded is scratch whose rows are stride elements apart.
func (b *Backend) padded(rows, cols, stride int, t runtime.DType, phase runtime.Phase) runtime.Tensor {
	if rows < 0 || cols < 0 || stride < cols || stride > 0 && rows > math.MaxInt/8/stride {
		panic(runtime.ShapeError{Op: "Scratch", Detail: fmt.Sprintf("%v[%d,%d]", t, rows, cols)})
	}
	if rows > math.MaxInt32 || stride > math.MaxInt32 { // what kernels count with
		panic(runtime.ShapeError{Op: "Scratch", Detail: fmt.Sprintf("%v[%d,%d]: more than 2^31 rows or columns", t, rows, cols)})
	}
	life := b.stack.Life()
	bytes := int64(rows) * int64(stride) * int64(t.Size())
	addr := b.stack.Push("scratch", bytes)
	b.used.Add(bytes)
	return runtime.NewTensor(addr, rows, cols, stride, t, phase, life)
}

// shadow is what the host knows of int32 values that it uploaded: ids, ranges and row numbers are checked where an op is
// called, and not on the device, which could only compute something else or fail for good.
type shadow struct {
	addr   uintptr
	life   uint32
	values []int32
}

// remember notes values that are on their way to t: in the shadow that has t's memory, or in a new one.
func (b *Backend) remember(t runtime.Tensor, values []int32) {
	if t.Life() == 0 || len(values) == 0 {
		return
	}
	if known := b.shadowOf(t); known != nil {
		for r := range t.Rows {
			copy(known[r*t.Stride():], values[r*t.Cols:(r+1)*t.Cols])
		}
		return
	}
	if t.Contiguous() {
		b.shadows = append(b.shadows, shadow{t.Addr(), t.Life(), append([]int32(nil), values...)})
	}
}

// shadowOf are the values from t's first element to its last, rows as far apart as t's; nil if they are not known.
func (b *Backend) shadowOf(t runtime.Tensor) []int32 {
	if t.Rows == 0 || t.Cols == 0 || t.DType != runtime.I32 {
		return nil
	}
	n := (t.Rows-1)*t.Stride() + t.Cols
	for i := len(b.shadows) - 1; i >= 0; i-- {
		s := &b.shadows[i]
		if s.life != t.Life() || t.Addr() < s.addr {
			continue
		}
		if at := int(t.Addr()-s.addr) / 4; at+n <= len(s.values) {
			return s.values[at : at+n]
		}
	}
	return nil
}

// known are the values of t, if the host uploaded them. Those that the device computed are not known, and kernels read no
// memory for an index that is out of range.
func (b *Backend) known(t runtime.Tensor) []int32 {
	if !t.Contiguous() {
		return nil
	}
	return b.shadowOf(t)
}

// Upload stages src in page-locked memory and queues the copy.
func (b *Backend) Upload(dst runtime.Tensor, src any) {
	b.stack.Check("Upload", dst)
	switch s := src.(type) {
	case []float32:
		switch dst.DType {
		case runtime.F32:
		case runtime.F16, runtime.BF16: // the device rounds
			b.sized("Upload", dst, len(s))
			m := b.Mark()
			defer b.Release(m)
			wide := b.Scratch(dst.Rows, dst.Cols, runtime.F32)
			b.Upload(wide, src)
			b.convert(dst, wide)
			return
		default:
			b.mismatch("Upload", dst, src)
		}
		upload(b, dst, s, func(to []byte, v []float32) {
			for i, x := range v {
				binary.LittleEndian.PutUint32(to[4*i:], math.Float32bits(x))
			}
		})
	case []int32:
		if dst.DType != runtime.I32 {
			b.mismatch("Upload", dst, src)
		}
		upload(b, dst, s, func(to []byte, v []int32) {
			for i, x := range v {
				binary.LittleEndian.PutUint32(to[4*i:], uint32(x))
			}
		})
		b.remember(dst, s)
	case []uint8:
		if dst.DType != runtime.U8 {
			b.mismatch("Upload", dst, src)
		}
		upload(b, dst, s, func(to []byte, v []uint8) { copy(to, v) })
	default:
		b.mismatch("Upload", dst, src)
	}
}

func (b *Backend) sized(op string, t runtime.Tensor, n int) {
	if n != t.Rows*t.Cols {
		panic(runtime.ShapeError{Op: op, Detail: fmt.Sprintf("%d values and %v", n, t)})
	}
}

func (b *Backend) mismatch(op string, t runtime.Tensor, host any) {
	panic(runtime.ShapeError{Op: op, Detail: fmt.Sprintf("%v and %T", t, host)})
}

// upload copies v into dst, row by row where it has gaps.
func upload[E float32 | int32 | uint8](b *Backend, dst runtime.Tensor, v []E, encode func(to []byte, v []E)) {
	b.sized("Upload", dst, len(v))
	if b.idle() || len(v) == 0 {
		return
	}
	size := dst.DType.Size()
	run, stride := len(v), 0
	if !dst.Contiguous() {
		run, stride = dst.Cols, dst.Stride()*size
	}
	for r := 0; r*run < len(v); r++ {
		b.staging.upload(b, cuda.Ptr(dst.Addr())+cuda.Ptr(r*stride), run*size, func(to []byte, from int) {
			encode(to, v[r*run+from/size:][:len(to)/size])
		})
	}
}

// Download converts on the device what is not float32, int32 or bytes, and waits.
func (b *Backend) Download(dst any, src runtime.Tensor) error {
	b.stack.Check("Download", src)
	m := b.Mark()
	defer b.Release(m)
	switch d := dst.(type) {
	case []float32:
		b.sized("Download", src, len(d))
		switch src.DType {
		case runtime.F32, runtime.F16, runtime.BF16:
		default:
			b.mismatch("Download", src, dst)
		}
		if src.DType != runtime.F32 || !src.Contiguous() {
			src = b.converted(src, src.Cols, runtime.F32)
		}
		return download(b, src, d, func(v []float32, from []byte) {
			for i := range v {
				v[i] = math.Float32frombits(binary.LittleEndian.Uint32(from[4*i:]))
			}
		})
	case []int32:
		b.sized("Download", src, len(d))
		if src.DType != runtime.I32 {
			b.mismatch("Download", src, dst)
		}
		return download(b, src, d, func(v []int32, from []byte) {
			for i := range v {
				v[i] = int32(binary.LittleEndian.Uint32(from[4*i:]))
			}
		})
	case []uint8:
		b.sized("Download", src, len(d))
		if src.DType != runtime.U8 {
			b.mismatch("Download", src, dst)
		}
		return download(b, src, d, func(v []uint8, from []byte) { copy(v, from) })
	}
	b.mismatch("Download", src, dst)
	return nil
}

func download[E float32 | int32 | uint8](b *Backend, src runtime.Tensor, v []E, decode func(v []E, from []byte)) error {
	size := src.DType.Size()
	run, stride := len(v), 0
	if !src.Contiguous() {
		run, stride = src.Cols, src.Stride()*size
	}
	for r := 0; r*run < len(v) && !b.idle(); r++ {
		b.staging.download(b, cuda.Ptr(src.Addr())+cuda.Ptr(r*stride), run*size, func(from []byte, at int) {
			decode(v[r*run+at/size:][:len(from)/size], from)
		})
	}
	return b.Sync()
}

// staging is page-locked memory through which everything crosses: the driver copies from it while the host goes on.
type staging struct {
	host []byte
	used int // bytes whose copy may not have begun
}

const stagingBytes = 8 << 20

func (s *staging) open(b *Backend) (err error) {
	s.host, err = b.context.AllocHost(stagingBytes)
	return err
}

func (s *staging) close(b *Backend) error {
	if s.host == nil {
		return nil
	}
	err := b.context.FreeHost(s.host)
	s.host = nil
	return err
}

// least is the smallest part of a copy that is worth one.
const least = 4 << 10

// room is up to want bytes of free staging memory, and no fewer than least.
func (s *staging) room(b *Backend, want, least int) []byte {
	if len(s.host)-s.used < least {
		b.wait()
		s.used = 0
	}
	end := min(len(s.host), s.used+want)
	part := s.host[s.used:end:end]
	s.used += (len(part) + 255) &^ 255
	return part
}

// upload fills n bytes at dst with what fill writes, a part at a time; from is where in the whole a part begins.
func (s *staging) upload(b *Backend, dst cuda.Ptr, n int, fill func(to []byte, from int)) {
	b.unrecorded("Upload")
	for at := 0; at < n && !b.idle(); {
		part := s.room(b, n-at, min(n-at, least))
		if at+len(part) < n {
			part = part[:len(part)&^255]
		}
		fill(part, at)
		b.check(b.context.UploadAsync(dst+cuda.Ptr(at), part, b.stream))
		at += len(part)
	}
}

// download hands n bytes at src to take, a part at a time.
func (s *staging) download(b *Backend, src cuda.Ptr, n int, take func(from []byte, at int)) {
	b.unrecorded("Download")
	for at := 0; at < n && !b.idle(); {
		part := s.room(b, n-at, min(n-at, least))
		if at+len(part) < n {
			part = part[:len(part)&^255]
		}
		if !b.check(b.context.DownloadAsync(part, src+cuda.Ptr(at), b.stream)) {
			return
		}
		b.wait()
		if b.failed.Load() != nil {
			return
		}
		take(part, at)
		at += len(part)
	}
}
