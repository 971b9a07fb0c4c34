//go:build linux && (amd64 || arm64) && !nocuda

package driver

import (
	"fmt"
	"unsafe"

	"remote-client-server/cuda"
)

// packet is what a launch hands to C: values and pointers to them, and for cuLaunchKernelEx its configuration. It lies
// inside the pinned context and is used again for every launch, because the driver copies it all before it returns.
type packet struct {
	values [cuda.MaxArgBytes + 128]byte
	base   uintptr // of the values, aligned to 128
	at     int     // of base in values
	args   [cuda.MaxArgs]uintptr
	config launchConfig
	attrs  [2]launchAttribute
}

// launchConfig is CUlaunchConfig.
type launchConfig struct {
	grid, block [3]uint32
	shared      uint32
	_           uint32
	stream      uintptr
	attrs       uintptr
	count       uint32
	_           uint32
}

// launchAttribute is CUlaunchAttribute.
type launchAttribute struct {
	id    uint32
	_     uint32
	value [16]uint32
}

const (
	attributeCluster      = 4 // CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION
	attributeProgrammatic = 6 // CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION
)

// lay finds the aligned place for values, once the packet does not move any more.
func (p *packet) lay() {
	start := uintptr(unsafe.Pointer(&p.values[0]))
	p.base = (start + 127) &^ 127
	p.at = int(p.base - start)
}

// Launch queues a kernel. The order of l.Args is that of the kernel's parameters; the driver, which knows their sizes,
// is given a pointer to each.
func (c *context) Launch(l *cuda.Launch) error {
	if e := c.lost.Load(); e != nil {
		return e
	}
	p := &c.packet
	copy(p.values[p.at:], l.Args.Packed())
	offsets := l.Args.Offsets()
	for i, o := range offsets {
		p.args[i] = p.base + uintptr(o)
	}
	args := uintptr(0)
	if len(offsets) > 0 {
		args = uintptr(unsafe.Pointer(&p.args))
	}
	if err := l.Args.Check(); err != nil {
		return err
	}
	cluster := l.Cluster != [3]uint32{}
	if c.cuLaunchKernelEx == 0 {
		if cluster {
			return cuda.NewError("cuLaunchKernelEx", cuda.DriverTooOld, "", "clusters of blocks need driver >= R520")
		}
		a := &c.args
		a[0] = uintptr(l.Function)
		a[1], a[2], a[3] = uintptr(l.Grid[0]), uintptr(l.Grid[1]), uintptr(l.Grid[2])
		a[4], a[5], a[6] = uintptr(l.Block[0]), uintptr(l.Block[1]), uintptr(l.Block[2])
		a[7], a[8], a[9], a[10] = uintptr(l.Shared), uintptr(l.Stream), args, 0
		if r := c.call(c.cuLaunchKernel, 11); r != 0 {
			return c.failed("cuLaunchKernel", r, c.describeLaunch(l))
		}
		return nil
	}
	n := 0
	if cluster {
		p.attrs[n].id = attributeCluster
		p.attrs[n].value = [16]uint32{l.Cluster[0], l.Cluster[1], l.Cluster[2]}
		n++
	}
	if l.Dependent && c.properties.ProgrammaticLaunch {
		p.attrs[n].id = attributeProgrammatic
		p.attrs[n].value = [16]uint32{1}
		n++
	}
	f := &p.config
	f.grid, f.block, f.shared, f.stream = l.Grid, l.Block, l.Shared, uintptr(l.Stream)
	f.count, f.attrs = uint32(n), 0
	if n > 0 {
		f.attrs = uintptr(unsafe.Pointer(&p.attrs))
	}
	c.args[0], c.args[1], c.args[2], c.args[3] = uintptr(unsafe.Pointer(f)), uintptr(l.Function), args, 0
	if r := c.call(c.cuLaunchKernelEx, 4); r != 0 {
		return c.failed("cuLaunchKernelEx", r, c.describeLaunch(l))
	}
	return nil
}

func (c *context) describeLaunch(l *cuda.Launch) string {
	name := c.functions[l.Function].name
	if name == "" {
		name = fmt.Sprintf("%#x", uintptr(l.Function))
	}
	s := fmt.Sprintf("kernel %s, grid %v, block %v, %d bytes of shared memory, %d arguments", name, l.Grid, l.Block, l.Shared, len(l.Args.Offsets()))
	if l.Cluster != [3]uint32{} {
		s += fmt.Sprintf(", cluster %v", l.Cluster)
	}
	return s
}
