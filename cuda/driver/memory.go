//go:build linux && (amd64 || arm64) && !nocuda

package driver

import (
	"fmt"
	"runtime"
	"slices"
	"unsafe"

	"remote-client-server/cuda"
)

// hostRange is one allocation of page-locked memory.
type hostRange struct{ from, to uintptr }

func (c *context) Alloc(bytes int64) (cuda.Ptr, error) {
	if err := c.Err(); err != nil {
		return 0, err
	}
	if bytes <= 0 {
		return 0, c.fault("cuMemAlloc_v2", int32(cuda.InvalidValue), fmt.Sprintf("%d bytes", bytes))
	}
	var p uint64
	if r := c.cuMemAlloc(&p, uint64(bytes)); r != 0 {
		return 0, c.failed("cuMemAlloc_v2", r, c.room(r, bytes))
	}
	c.sizes[cuda.Ptr(p)] = bytes
	c.ledger.Allocations.Add(1)
	c.ledger.DeviceBytes.Add(bytes)
	return cuda.Ptr(p), nil
}

// room says how much memory there was when it did not suffice.
func (c *context) room(code int32, bytes int64) string {
	text := fmt.Sprintf("%d bytes", bytes)
	var free, total uint64
	if cuda.Code(code) == cuda.OutOfMemory && c.cuMemGetInfo(&free, &total) == 0 {
		text += fmt.Sprintf(" of %d free and %d in all", free, total)
	}
	return text
}

func (c *context) Free(p cuda.Ptr) error {
	if err := c.Err(); err != nil {
		return err
	}
	bytes, ok := c.sizes[p]
	if !ok {
		return c.fault("cuMemFree_v2", int32(cuda.InvalidValue), fmt.Sprintf("no allocation begins at %#x", uint64(p)))
	}
	if err := c.check("cuMemFree_v2", c.cuMemFree(uint64(p))); err != nil {
		return err
	}
	delete(c.sizes, p)
	c.ledger.Allocations.Add(-1)
	c.ledger.DeviceBytes.Add(-bytes)
	return nil
}

func (c *context) AllocHost(bytes int) ([]byte, error) {
	if err := c.Err(); err != nil {
		return nil, err
	}
	if bytes <= 0 {
		return nil, c.fault("cuMemHostAlloc", int32(cuda.InvalidValue), fmt.Sprintf("%d bytes", bytes))
	}
	var p unsafe.Pointer
	if r := c.cuMemHostAlloc(&p, uint64(bytes), 0); r != 0 {
		return nil, c.failed("cuMemHostAlloc", r, fmt.Sprintf("%d bytes of page-locked host memory: see ulimit -l", bytes))
	}
	h := hostRange{uintptr(p), uintptr(p) + uintptr(bytes)}
	i, _ := c.hostAt(h.from)
	c.host = slices.Insert(c.host, i, h)
	c.ledger.HostAllocations.Add(1)
	c.ledger.HostBytes.Add(int64(bytes))
	return unsafe.Slice((*byte)(p), bytes), nil
}

// hostAt is the index of the range that begins at an address, or where one would stand that does.
func (c *context) hostAt(addr uintptr) (int, bool) {
	lo, hi := 0, len(c.host)
	for lo < hi {
		if m := (lo + hi) / 2; c.host[m].from < addr {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return lo, lo < len(c.host) && c.host[lo].from == addr
}

// pageLocked reports whether p lies within one allocation of AllocHost.
func (c *context) pageLocked(p []byte) bool {
	from := uintptr(unsafe.Pointer(unsafe.SliceData(p)))
	i, ok := c.hostAt(from)
	if !ok {
		i--
	}
	return i >= 0 && from+uintptr(len(p)) <= c.host[i].to
}

func (c *context) FreeHost(p []byte) error {
	if err := c.Err(); err != nil {
		return err
	}
	at := unsafe.Pointer(unsafe.SliceData(p))
	i, ok := c.hostAt(uintptr(at))
	if !ok {
		return c.fault("cuMemFreeHost", int32(cuda.InvalidValue), "the memory is not of AllocHost")
	}
	if err := c.check("cuMemFreeHost", c.cuMemFreeHost(at)); err != nil {
		return err
	}
	c.ledger.HostAllocations.Add(-1)
	c.ledger.HostBytes.Add(-int64(c.host[i].to - c.host[i].from))
	c.host = slices.Delete(c.host, i, i+1)
	return nil
}

func (c *context) Upload(dst cuda.Ptr, src []byte) error {
	if err := c.Err(); err != nil || len(src) == 0 {
		return err
	}
	r := c.cuMemcpyHtoD(uint64(dst), unsafe.Pointer(unsafe.SliceData(src)), uint64(len(src)))
	runtime.KeepAlive(src)
	return c.landed("cuMemcpyHtoD_v2", r)
}

// landed waits for a copy of the default stream. From pageable memory and within the device the driver returns before the
// destination is written, and no stream of ours waits for the default one.
func (c *context) landed(call string, code int32) error {
	if err := c.check(call, code); err != nil {
		return err
	}
	return c.check("cuStreamSynchronize", c.cuStreamSynchronize(0))
}

func (c *context) Download(dst []byte, src cuda.Ptr) error {
	if err := c.Err(); err != nil || len(dst) == 0 {
		return err
	}
	r := c.cuMemcpyDtoH(unsafe.Pointer(unsafe.SliceData(dst)), uint64(src), uint64(len(dst)))
	runtime.KeepAlive(dst)
	return c.check("cuMemcpyDtoH_v2", r)
}

func (c *context) Copy(dst, src cuda.Ptr, bytes int64) error {
	if err := c.Err(); err != nil || bytes == 0 {
		return err
	}
	return c.landed("cuMemcpyDtoD_v2", c.cuMemcpyDtoD(uint64(dst), uint64(src), uint64(bytes)))
}

func (c *context) UploadAsync(dst cuda.Ptr, src []byte, s cuda.Stream) error {
	if err := c.Err(); err != nil || len(src) == 0 {
		return err
	}
	if !c.pageLocked(src) {
		return c.fault("cuMemcpyHtoDAsync_v2", int32(cuda.InvalidValue), "the source is not page-locked memory of AllocHost")
	}
	c.args[0], c.args[1], c.args[2], c.args[3] = uintptr(dst), uintptr(unsafe.Pointer(unsafe.SliceData(src))), uintptr(len(src)), uintptr(s)
	return c.check("cuMemcpyHtoDAsync_v2", c.call(c.cuMemcpyHtoDAsync, 4))
}

func (c *context) DownloadAsync(dst []byte, src cuda.Ptr, s cuda.Stream) error {
	if err := c.Err(); err != nil || len(dst) == 0 {
		return err
	}
	if !c.pageLocked(dst) {
		return c.fault("cuMemcpyDtoHAsync_v2", int32(cuda.InvalidValue), "the destination is not page-locked memory of AllocHost")
	}
	c.args[0], c.args[1], c.args[2], c.args[3] = uintptr(unsafe.Pointer(unsafe.SliceData(dst))), uintptr(src), uintptr(len(dst)), uintptr(s)
	return c.check("cuMemcpyDtoHAsync_v2", c.call(c.cuMemcpyDtoHAsync, 4))
}

func (c *context) CopyAsync(dst, src cuda.Ptr, bytes int64, s cuda.Stream) error {
	if err := c.Err(); err != nil || bytes == 0 {
		return err
	}
	c.args[0], c.args[1], c.args[2], c.args[3] = uintptr(dst), uintptr(src), uintptr(bytes), uintptr(s)
	return c.check("cuMemcpyDtoDAsync_v2", c.call(c.cuMemcpyDtoDAsync, 4))
}

func (c *context) Memset(dst cuda.Ptr, value byte, bytes int64, s cuda.Stream) error {
	if err := c.Err(); err != nil || bytes == 0 {
		return err
	}
	c.args[0], c.args[1], c.args[2], c.args[3] = uintptr(dst), uintptr(value), uintptr(bytes), uintptr(s)
	return c.check("cuMemsetD8Async", c.call(c.cuMemsetD8Async, 4))
}

func (c *context) Memset32(dst cuda.Ptr, value uint32, words int64, s cuda.Stream) error {
	if err := c.Err(); err != nil || words == 0 {
		return err
	}
	c.args[0], c.args[1], c.args[2], c.args[3] = uintptr(dst), uintptr(value), uintptr(words), uintptr(s)
	return c.check("cuMemsetD32Async", c.call(c.cuMemsetD32Async, 4))
}
