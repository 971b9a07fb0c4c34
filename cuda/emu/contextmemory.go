package emu

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"unsafe"

	"remote-client-server/cuda"
)

// refused turns an error of the device's memory into the driver's.
func (c *gpu) refused(call string, err error) error {
	if err == nil {
		return nil
	}
	var full *OutOfMemory
	if errors.As(err, &full) {
		return cuda.NewError(call, cuda.OutOfMemory, "", fmt.Sprintf("%d bytes of %d free and %d in all", full.Size, full.Limit-full.Used, full.Limit))
	}
	return invalid(call, "%v", err)
}

// length checks a number of bytes that a caller gave.
func length(call string, n int64) error {
	if n < 0 || n > math.MaxInt>>1 {
		return invalid(call, "%d bytes", n)
	}
	return nil
}

func (c *gpu) Alloc(bytes int64) (cuda.Ptr, error) {
	const call = "cuMemAlloc_v2"
	if err := c.outside(call); err != nil {
		return 0, err
	}
	if bytes <= 0 || bytes > math.MaxInt>>1 {
		return 0, invalid(call, "%d bytes", bytes)
	}
	p, err := c.device.Alloc(int(bytes))
	if err != nil {
		return 0, c.refused(call, err)
	}
	c.sizes[cuda.Ptr(p)] = bytes
	c.ledger.Allocations.Add(1)
	c.ledger.DeviceBytes.Add(bytes)
	return cuda.Ptr(p), nil
}

func (c *gpu) Free(p cuda.Ptr) error {
	const call = "cuMemFree_v2"
	if err := c.outside(call); err != nil {
		return err
	}
	bytes, ok := c.sizes[p]
	if !ok {
		return invalid(call, "no allocation begins at %#x", uint64(p))
	}
	if err := c.device.Free(uint64(p)); err != nil {
		return c.refused(call, err)
	}
	delete(c.sizes, p)
	c.ledger.Allocations.Add(-1)
	c.ledger.DeviceBytes.Add(-bytes)
	return nil
}

func (c *gpu) AllocHost(bytes int) ([]byte, error) {
	const call = "cuMemHostAlloc"
	if err := c.outside(call); err != nil {
		return nil, err
	}
	if bytes <= 0 || bytes > math.MaxInt>>1 {
		return nil, invalid(call, "%d bytes", bytes)
	}
	p := make([]byte, bytes)
	c.host = append(c.host, p)
	c.ledger.HostAllocations.Add(1)
	c.ledger.HostBytes.Add(int64(bytes))
	return p, nil
}

func (c *gpu) FreeHost(p []byte) error {
	const call = "cuMemFreeHost"
	if err := c.outside(call); err != nil {
		return err
	}
	i := slices.IndexFunc(c.host, func(h []byte) bool { return unsafe.SliceData(h) == unsafe.SliceData(p) })
	if i < 0 {
		return invalid(call, "the memory is not of AllocHost")
	}
	c.ledger.HostAllocations.Add(-1)
	c.ledger.HostBytes.Add(-int64(len(c.host[i])))
	c.host = slices.Delete(c.host, i, i+1)
	return nil
}

// pageLocked reports whether p lies within one allocation of AllocHost.
func (c *gpu) pageLocked(p []byte) bool {
	from := uintptr(unsafe.Pointer(unsafe.SliceData(p)))
	return slices.ContainsFunc(c.host, func(h []byte) bool {
		start := uintptr(unsafe.Pointer(unsafe.SliceData(h)))
		return from >= start && from+uintptr(len(p)) <= start+uintptr(len(h))
	})
}

func (c *gpu) Upload(dst cuda.Ptr, src []byte) error {
	const call = "cuMemcpyHtoD_v2"
	if err := c.outside(call); err != nil || len(src) == 0 {
		return err
	}
	return c.refused(call, c.device.Write(uint64(dst), src))
}

// Download is an error also where nobody has written what it reads, which a GPU would not notice.
func (c *gpu) Download(dst []byte, src cuda.Ptr) error {
	const call = "cuMemcpyDtoH_v2"
	if err := c.outside(call); err != nil || len(dst) == 0 {
		return err
	}
	return c.refused(call, c.device.Read(uint64(src), dst))
}

func (c *gpu) Copy(dst, src cuda.Ptr, bytes int64) error {
	const call = "cuMemcpyDtoD_v2"
	if err := c.outside(call); err != nil || bytes == 0 {
		return err
	}
	return c.copy(call, dst, src, bytes)
}

func (c *gpu) copy(call string, dst, src cuda.Ptr, bytes int64) error {
	if err := length(call, bytes); err != nil {
		return err
	}
	if a, b := min(dst, src), max(dst, src); uint64(b-a) < uint64(bytes) {
		return invalid(call, "copies of %d bytes from %#x to %#x overlap", bytes, uint64(src), uint64(dst))
	}
	return c.refused(call, c.device.Copy(uint64(dst), uint64(src), int(bytes)))
}

func (c *gpu) UploadAsync(dst cuda.Ptr, src []byte, s cuda.Stream) error {
	const call = "cuMemcpyHtoDAsync_v2"
	if err := c.begin(call); err != nil || len(src) == 0 {
		return err
	}
	if !c.pageLocked(src) {
		return invalid(call, "the source is not page-locked memory of AllocHost")
	}
	return c.give(call, s, func() error { return c.refused(call, c.device.Write(uint64(dst), src)) })
}

func (c *gpu) DownloadAsync(dst []byte, src cuda.Ptr, s cuda.Stream) error {
	const call = "cuMemcpyDtoHAsync_v2"
	if err := c.begin(call); err != nil || len(dst) == 0 {
		return err
	}
	if !c.pageLocked(dst) {
		return invalid(call, "the destination is not page-locked memory of AllocHost")
	}
	return c.give(call, s, func() error { return c.refused(call, c.device.Read(uint64(src), dst)) })
}

func (c *gpu) CopyAsync(dst, src cuda.Ptr, bytes int64, s cuda.Stream) error {
	const call = "cuMemcpyDtoDAsync_v2"
	if err := c.begin(call); err != nil || bytes == 0 {
		return err
	}
	return c.give(call, s, func() error { return c.copy(call, dst, src, bytes) })
}

func (c *gpu) Memset(dst cuda.Ptr, value byte, bytes int64, s cuda.Stream) error {
	const call = "cuMemsetD8Async"
	if err := c.begin(call); err != nil || bytes == 0 {
		return err
	}
	if err := length(call, bytes); err != nil {
		return err
	}
	return c.give(call, s, func() error { return c.refused(call, c.device.Fill(uint64(dst), value, int(bytes))) })
}

func (c *gpu) Memset32(dst cuda.Ptr, value uint32, words int64, s cuda.Stream) error {
	const call = "cuMemsetD32Async"
	if err := c.begin(call); err != nil || words == 0 {
		return err
	}
	if err := length(call, words); err != nil {
		return err
	}
	if dst%4 != 0 || words > math.MaxInt>>3 {
		return invalid(call, "%d words at %#x", words, uint64(dst))
	}
	return c.give(call, s, func() error { return c.refused(call, c.device.Fill32(uint64(dst), value, int(words))) })
}

// Poison makes memory uninitialised again.
func (c *gpu) Poison(p cuda.Ptr, bytes int64) error {
	if err := c.Err(); err != nil || bytes == 0 {
		return err
	}
	if err := length("poison", bytes); err != nil {
		return err
	}
	return c.refused("poison", c.device.Poison(uint64(p), int(bytes)))
}
