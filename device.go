package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"remote-client-server/cuda"
	"remote-client-server/cuda/driver"
	"remote-client-server/http"
	"remote-client-server/runtime"
	"remote-client-server/runtime/cpu"
	"remote-client-server/runtime/gpu"
)

// device is where the model computes.
type device struct {
	runtime.Backend
	gpu     *gpu.Backend // nil on the CPU
	owner   *cuda.Device
	monitor *driver.NVML // nil where it is not there
	count   int          // GPUs that the process sees
}

// onDevice opens the device that --model_device names, runs f on the goroutine
// that owns it, and closes it. Where a GPU was wished for and cannot be used,
// the CPU takes its place, unless it is required.
func (c *config) onDevice(f func(d *device) error) error {
	if c.device != "cpu" {
		err := c.onGPU(f)
		var unusable unusableError
		if !errors.As(err, &unusable) {
			return err
		}
		if c.require {
			return fmt.Errorf("device %s is required: %w", c.device, unusable.error)
		}
		absent := errors.Is(err, cuda.ErrNoDriver) || errors.Is(err, cuda.ErrNoDevice)
		if c.device != "auto" || !absent { // who has no GPU and asked for none need not be told
			slog.Warn("the model runs on the CPU", "instead_of", c.device, "because", unusable.error)
		}
	}
	b, err := cpu.New(cpu.Options{Threads: c.threads})
	if err != nil {
		return err
	}
	defer b.Close()
	return f(&device{Backend: b})
}

// reachable is an error where the driver does not show the GPU that is required:
// nothing need be fetched or read to know that.
func (c *config) reachable() error {
	if !c.require || c.device == "cpu" || strings.HasPrefix(c.device, emulatedPrefix) {
		return nil
	}
	ordinal, err := c.ordinal()
	if err != nil {
		return err
	}
	n, err := driver.Count(driverOptions(c.kernelCache()))
	if err == nil && ordinal >= n {
		err = fmt.Errorf("the driver shows %d GPUs", n)
	}
	if err != nil {
		return fmt.Errorf("device %s is required: %w", c.device, err)
	}
	return nil
}

// unusableError is a GPU that cannot be used at all: another device may.
type unusableError struct{ error }

func (e unusableError) Unwrap() error { return e.error }

// onGPU runs f on the GPU's goroutine. An unusableError comes before f was run.
func (c *config) onGPU(f func(d *device) error) error {
	d := &device{}
	cache := c.kernelCache()
	owner, err := c.openGPU(d, cache)
	if err != nil {
		return unusableError{err}
	}
	d.owner = owner
	if m, err := driver.OpenNVML(nil); err == nil && d.count > 0 {
		d.monitor = m
		defer m.Close()
	}
	err = owner.Do(func(context cuda.Context) (err error) {
		o := gpu.Options{Cache: cache, Log: slog.Default()}
		if o.Products, err = c.products(context); err != nil {
			return unusableError{err}
		}
		o.Force = c.gemm == "cublaslt"
		if strings.HasPrefix(c.device, emulatedPrefix) {
			o.Name = c.device
		}
		b, err := gpu.New(context, o)
		if err != nil {
			return unusableError{err}
		}
		defer func() { err = errors.Join(err, b.Close()) }()
		if _, err := b.Precision(c.dtype, runtime.F32); err != nil && c.device == "auto" {
			return unusableError{err} // the CPU has more types
		}
		if err := b.Prepare(); err != nil {
			return unusableError{err}
		}
		d.Backend, d.gpu = b, b
		return f(d)
	})
	var panicked *cuda.PanicError
	if errors.As(err, &panicked) {
		slog.Error("panic", "in", "the GPU's goroutine", "panic", fmt.Sprint(panicked.Value), "stack", string(panicked.Stack))
	}
	if closed := owner.Close(); err == nil { // after an error, what was not given back is no news
		err = closed
	}
	return err
}

// emulatedPrefix begins the names of devices that are executed on the CPU.
const emulatedPrefix = "emu:"

// kernelCache keeps what the driver compiles, beside the models or in the user's
// cache, in a folder that the driver's own cache uses too.
func (c *config) kernelCache() *cuda.Cache {
	folder := c.kernels
	if folder == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return nil
		}
		folder = filepath.Join(user, "remote-client-server", "kernels")
	}
	return &cuda.Cache{Folder: folder, Log: slog.Default()}
}

// driverOptions give the driver's own cache a folder of ours, which it looks at
// once in a process.
func driverOptions(cache *cuda.Cache) driver.Options {
	o := driver.Options{Log: slog.Default()}
	if cache != nil {
		o.CacheFolder = filepath.Join(cache.Folder, "driver")
	}
	return o
}

// ordinal is the GPU's number; auto is the first.
func (c *config) ordinal() (int, error) {
	if c.device == "auto" {
		return 0, nil
	}
	return cuda.ParseName(c.device)
}

// openCUDA opens the GPU that the driver counts so.
func (c *config) openCUDA(d *device, cache *cuda.Cache) (*cuda.Device, error) {
	ordinal, err := c.ordinal()
	if err != nil {
		return nil, err
	}
	o := driverOptions(cache)
	if d.count, err = driver.Count(o); err != nil {
		return nil, err
	}
	return driver.Open(ordinal, o)
}

// products is the library of matrix products, where one may be used: it chooses
// its kernels by the number of rows, so that a result depends on its batch.
func (c *config) products(context cuda.Context) (cuda.Products, error) {
	if c.gemm == "own" || c.invariant {
		return nil, nil
	}
	const workspace = 32 << 20
	b, err := driver.OpenBlasLt(context, nil, workspace)
	if err != nil {
		if c.gemm == "cublaslt" {
			slog.Warn("our own kernels compute the matrix products: cuBLASLt cannot be used", "because", err)
		}
		if errors.Is(err, cuda.ErrSticky) {
			return nil, err
		}
		return nil, nil
	}
	slog.Info("cuBLASLt may compute matrix products", "version", b.Version())
	return b, nil
}

// read is the GPU at this moment.
func (d *device) read() (http.GPU, error) {
	var m cuda.Monitor
	if d.monitor != nil {
		m = d.monitor
	}
	s, err := d.owner.Status(m, d.count, d.gpu.Allocated())
	return http.GPU{
		Name: s.DeviceName, Count: max(s.DeviceCount, 1), CUDA: s.CUDAVersion, Allocated: s.Allocated, Reserved: s.Reserved,
		Used: s.Used, Total: s.Total, Utilization: s.Utilization,
	}, err
}

// reader is read, or nil on the CPU.
func (d *device) reader() func() (http.GPU, error) {
	if d.gpu == nil {
		return nil
	}
	return d.read
}

// lostTime is how long a server whose GPU failed goes on saying so, before it
// ends to be started again.
const lostTime = 2 * time.Second
