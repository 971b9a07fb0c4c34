package emu

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"remote-client-server/cuda"
)

// loadedKernel is a kernel of a loaded module.
type loadedKernel struct {
	*Kernel
	of      cuda.Module
	dynamic int // bytes of dynamic shared memory that a launch may ask for
}

// Load parses PTX text. Its kernels are decoded by Function.
func (c *gpu) Load(image []byte) (cuda.Module, string, error) {
	const call = "cuModuleLoadDataEx"
	if err := c.outside(call); err != nil {
		return 0, "", err
	}
	if len(image) == 0 {
		return 0, "", invalid(call, "an empty image")
	}
	if !cuda.IsPTX(image) {
		return 0, "", cuda.NewError(call, cuda.NoBinaryForGPU, "", c.properties.Name+" executes PTX only")
	}
	if cuda.VersionOfPTX(image) > ptxLimit {
		return 0, "", cuda.NewError(call, cuda.UnsupportedPTXVersion, "", cuda.TooNewPTX(image, driverVersion))
	}
	m, err := Parse(image)
	if err != nil {
		return 0, "", cuda.NewError(call, cuda.InvalidPTX, "", err.Error())
	}
	if !c.device.target.runs(m.Target) {
		return 0, "", cuda.NewError(call, cuda.NoBinaryForGPU, "", fmt.Sprintf("this GPU is %v. The PTX is for %v", c.device.target, m.Target))
	}
	if err := c.device.Load(m); err != nil {
		return 0, "", c.refused(call, err)
	}
	h := cuda.Module(c.handle())
	c.modules[h] = m
	c.ledger.Modules.Add(1)
	return h, "", nil
}

func (c *gpu) Compile(ptx []byte) ([]byte, string, error) {
	const call = "cuLinkCreate_v2"
	if err := c.begin(call); err != nil {
		return nil, "", err
	}
	return nil, "", cuda.NewError(call, cuda.NotSupported, "", c.properties.Name+" has no compiler")
}

func (c *gpu) Unload(m cuda.Module) error {
	const call = "cuModuleUnload"
	if err := c.outside(call); err != nil {
		return err
	}
	module := c.modules[m]
	if module == nil {
		return badHandle(call, "module", uintptr(m))
	}
	c.device.Unload(module)
	for f, k := range c.functions {
		if k.of == m {
			delete(c.functions, f)
		}
	}
	delete(c.modules, m)
	c.ledger.Modules.Add(-1)
	return nil
}

func (c *gpu) Function(m cuda.Module, name string) (cuda.Function, error) {
	const call = "cuModuleGetFunction"
	if err := c.begin(call); err != nil {
		return 0, err
	}
	module := c.modules[m]
	if module == nil {
		return 0, badHandle(call, "module", uintptr(m))
	}
	for f, k := range c.functions { // the driver, too, gives a kernel one handle
		if k.of == m && k.Name == name {
			return f, nil
		}
	}
	if !slices.Contains(module.names, name) {
		return 0, cuda.NewError(call, cuda.NotFound, "CUDA_ERROR_NOT_FOUND", "kernel "+name)
	}
	k, err := module.Kernel(name)
	if err != nil {
		return 0, cuda.NewError(call, cuda.InvalidPTX, "", err.Error())
	}
	f := cuda.Function(c.handle())
	c.functions[f] = &loadedKernel{k, m, max(c.properties.SharedPerBlock-k.staticBytes, 0)}
	return f, nil
}

func (c *gpu) Global(m cuda.Module, name string) (cuda.Ptr, int64, error) {
	const call = "cuModuleGetGlobal_v2"
	if err := c.begin(call); err != nil {
		return 0, 0, err
	}
	module := c.modules[m]
	if module == nil {
		return 0, 0, badHandle(call, "module", uintptr(m))
	}
	p, n, err := c.device.Global(module, name)
	if err != nil {
		return 0, 0, cuda.NewError(call, cuda.NotFound, "CUDA_ERROR_NOT_FOUND", "variable "+name)
	}
	return cuda.Ptr(p), int64(n), nil
}

// registers estimates what the assembler gives a thread, as FunctionAttribute says it.
func (k *Kernel) registers(arch int) int {
	r := min(alignUp(k.live+8, 8), 255)
	if k.maxReg > 0 {
		r = min(r, k.maxReg)
	}
	if threads := threadBound(k.maxThread); threads > 0 { // what does not fit the bounds is spilled
		r = min(r, 65536/(threads*max(k.reqBlocks, 1))&^7)
	}
	return r
}

// threadBound is the number of threads of a bound, 0 without one.
func threadBound(v [3]int) int { return v[0] * max(v[1], 1) * max(v[2], 1) }

func (c *gpu) FunctionAttribute(f cuda.Function, a cuda.FunctionAttribute) (int, error) {
	const call = "cuFuncGetAttribute"
	if err := c.begin(call); err != nil {
		return 0, err
	}
	k := c.functions[f]
	if k == nil {
		return 0, badHandle(call, "function", uintptr(f))
	}
	t := c.device.target
	switch a {
	case cuda.MaxThreadsPerBlock:
		if n := threadBound(k.maxThread); n > 0 {
			return n, nil
		}
		return min(t.RegistersPerSM/k.registers(t.Arch)&^31, t.ThreadsPerBlock), nil
	case cuda.StaticSharedBytes:
		return k.staticBytes, nil
	case cuda.LocalBytes:
		return k.localBytes, nil
	case cuda.Registers:
		return k.registers(t.Arch), nil
	case cuda.PTXVersion:
		return k.module.Target.Arch, nil
	case cuda.BinaryVersion:
		return t.Arch, nil
	case cuda.DynamicSharedBytes:
		return k.dynamic, nil
	case cuda.SharedCarveout:
		return -1, nil // the driver's choice
	case cuda.NonPortableClusters:
		return 0, nil
	}
	return 0, invalid(call, "attribute %d of kernel %s", a, k.Name)
}

func (c *gpu) SetFunctionAttribute(f cuda.Function, a cuda.FunctionAttribute, value int) error {
	const call = "cuFuncSetAttribute"
	if err := c.begin(call); err != nil {
		return err
	}
	k := c.functions[f]
	if k == nil {
		return badHandle(call, "function", uintptr(f))
	}
	switch {
	case a == cuda.DynamicSharedBytes && value >= 0 && value+k.staticBytes <= c.properties.SharedPerBlockOptin:
		k.dynamic = value
		return nil
	case a == cuda.SharedCarveout && value >= -1 && value <= 100:
		return nil
	}
	return invalid(call, "attribute %d of kernel %s to %d", a, k.Name, value)
}

// Occupancy counts as NVIDIA's calculator does: registers are given to a warp by 256, and from sm_80 on the system keeps
// 1 KiB of shared memory for a block.
func (c *gpu) Occupancy(f cuda.Function, threads, shared int) (int, error) {
	const call = "cuOccupancyMaxActiveBlocksPerMultiprocessor"
	if err := c.begin(call); err != nil {
		return 0, err
	}
	k := c.functions[f]
	switch {
	case k == nil:
		return 0, badHandle(call, "function", uintptr(f))
	case threads < 1 || shared < 0:
		return 0, invalid(call, "%d threads, %d bytes of shared memory", threads, shared)
	case threads > c.properties.ThreadsPerBlock || shared > c.properties.SharedPerBlockOptin:
		return 0, nil
	}
	t, l := c.device.target, limitsOf(c.device.target.Arch)
	warps := (threads + 31) / 32
	blocks := min(l.blocks, l.threads/(32*warps))
	blocks = min(blocks, t.RegistersPerSM/(warps*alignUp(32*k.registers(t.Arch), 256)))
	bytes := alignUp(k.staticBytes+shared, 256)
	if t.Arch >= 80 {
		bytes += 1 << 10
	}
	if bytes > 0 {
		blocks = min(blocks, l.shared/bytes)
	}
	return blocks, nil
}

// elementBytes are the sizes of the types of tensor maps.
var elementBytes = map[cuda.TensorMapType]int{
	cuda.TensorMapUint8: 1, cuda.TensorMapUint16: 2, cuda.TensorMapUint32: 4, cuda.TensorMapInt32: 4, cuda.TensorMapUint64: 8,
	cuda.TensorMapInt64: 8, cuda.TensorMapFloat16: 2, cuda.TensorMapFloat32: 4, cuda.TensorMapFloat64: 8, cuda.TensorMapBFloat16: 2,
}

func (c *gpu) EncodeTensorMap(s *cuda.TensorMapSpec) (cuda.TensorMap, error) {
	const call = "cuTensorMapEncodeTiled"
	if err := c.begin(call); err != nil {
		return cuda.TensorMap{}, err
	}
	if !c.properties.TensorMaps {
		return cuda.TensorMap{}, cuda.NewError(call, cuda.NotSupported, "", c.properties.Name+" has no tensor copies")
	}
	if s.Rank < 1 || s.Rank > len(s.Dims) {
		return cuda.TensorMap{}, invalid(call, "rank %d", s.Rank)
	}
	for i, n := range s.ElementStrides[:s.Rank] {
		if n > 1 {
			return cuda.TensorMap{}, cuda.NewError(call, cuda.NotSupported, "", fmt.Sprintf("stride of %d elements in dimension %d", n, i))
		}
	}
	m, err := EncodeTiled(Tile{
		Base: uint64(s.Address), Element: elementBytes[s.Type], Dims: s.Dims[:s.Rank], Strides: s.Strides[:s.Rank-1], Box: s.Box[:s.Rank],
		Swizzle: Swizzle(min(s.Swizzle, 255)),
	})
	if err != nil {
		return cuda.TensorMap{}, invalid(call, "%v", err)
	}
	return cuda.TensorMap(m), nil
}

// Launch runs a kernel to its end, or records it.
func (c *gpu) Launch(l *cuda.Launch) error {
	const call = "cuLaunchKernelEx"
	if err := c.begin(call); err != nil {
		return err
	}
	if err := l.Args.Check(); err != nil {
		return err
	}
	k := c.functions[l.Function]
	if k == nil {
		return badHandle(call, "function", uintptr(l.Function))
	}
	if int(l.Shared) > k.dynamic {
		return invalid(call, "kernel %s: %d bytes of dynamic shared memory, the function's attribute allows %d", k.Name, l.Shared, k.dynamic)
	}
	offsets := l.Args.Offsets()
	if len(offsets) != len(k.params) {
		return invalid(call, "kernel %s: %d arguments, the kernel has %d parameters", k.Name, len(offsets), len(k.params))
	}
	for i, p := range k.params {
		if int(offsets[i]) != p.Offset {
			return invalid(call, "kernel %s: argument %d begins at byte %d, the parameter at %d", k.Name, i, offsets[i], p.Offset)
		}
	}
	o := &c.options
	e := Launch{
		Shared: int(l.Shared), Params: l.Args.Packed(),
		Budget: o.Budget, Profile: o.Profile, NoRaceCheck: o.NoRaceCheck, Workers: o.Workers,
	}
	for i := range 3 {
		if l.Grid[i] == 0 || l.Block[i] == 0 {
			return invalid(call, "kernel %s: grid %v, block %v", k.Name, l.Grid, l.Block)
		}
		e.Grid[i], e.Block[i], e.Cluster[i] = int(l.Grid[i]), int(l.Block[i]), int(l.Cluster[i])
	}
	recorded, err := c.recording(call, l.Stream)
	if err != nil {
		return err
	}
	if recorded == nil {
		return c.run(call, k, e, l.Grid)
	}
	e.Params = slices.Clone(e.Params)
	grid := l.Grid
	recorded.add(l.Stream, func() error { return c.run(call, k, e, grid) })
	return nil
}

func (c *gpu) run(call string, k *loadedKernel, l Launch, grid [3]uint32) error {
	s, err := c.device.Run(context.Background(), k.Kernel, l)
	if c.options.OnLaunch != nil && s != nil {
		c.options.OnLaunch(k.Name, grid, s)
	}
	if err == nil {
		return nil
	}
	var f *Fault
	switch {
	case !errors.As(err, &f):
		return c.refused(call, err)
	case s != nil:
		e := cuda.NewError(call, hardwareCode(f.Kind), "", f.Error())
		c.lost.CompareAndSwap(nil, &lostError{e, f})
		return c.lost.Load()
	case f.Kind == TooManyResources: // refused before anything ran, as what follows
		return cuda.NewError(call, launchOutOfResources, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", f.Error())
	case f.Kind == NotOnTarget:
		return cuda.NewError(call, cuda.NotSupported, "", f.Error())
	}
	return invalid(call, "%v", f)
}

// hardwareCode is what a GPU's driver says of a fault. What a GPU does not notice is LaunchFailed here.
func hardwareCode(k FaultKind) cuda.Code {
	switch k {
	case OutOfBounds, UseAfterFree, ReadOnly:
		return cuda.IllegalAddress
	case Misaligned:
		return cuda.MisalignedAddress
	case NotOnTarget, BadOperand, BadBarrier:
		return cuda.IllegalInstruction
	case Deadlock:
		return cuda.Hung
	case InstructionBudget:
		return cuda.LaunchTimeout
	case Internal:
		return cuda.Unknown
	}
	return cuda.LaunchFailed
}
