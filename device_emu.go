//go:build emu

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"remote-client-server/cuda"
	"remote-client-server/cuda/emu"
)

// emulatedDevices are what --model_device takes beside cpu and cuda, as part of a
// regular expression: GPUs whose code is executed on the CPU.
const emulatedDevices = `|emu:sm_75|emu:sm_80|emu:sm_90a`

func (c *config) openGPU(d *device, cache *cuda.Cache) (*cuda.Device, error) {
	target, ok := strings.CutPrefix(c.device, emulatedPrefix)
	if !ok {
		return c.openCUDA(d, cache)
	}
	d.count = 1
	o := emu.Options{NoRaceCheck: true}
	var err error
	if o.Fail, err = planned(os.Getenv("RCS_EMU_FAIL")); err != nil {
		return nil, err
	}
	return cuda.Start(func() (cuda.Context, error) { return emu.Open(target, o) })
}

// planned is a fault to try the server with: CALL:N:CODE makes the Nth call of
// that name, counted from 1, fail with the driver's code; N 0 is every call.
func planned(plan string) (func(call string) error, error) {
	if plan == "" {
		return nil, nil
	}
	f := strings.Split(plan, ":")
	if len(f) != 3 {
		return nil, fmt.Errorf("RCS_EMU_FAIL=%q: want CALL:N:CODE", plan)
	}
	n, err := strconv.Atoi(f[1])
	if err != nil {
		return nil, err
	}
	code, err := strconv.Atoi(f[2])
	if err != nil {
		return nil, err
	}
	return func(call string) error {
		if call != f[0] {
			return nil
		}
		if n > 0 {
			if n--; n != 0 {
				return nil
			}
			n = -1
		} else if n < 0 {
			return nil
		}
		return cuda.NewError(call, cuda.Code(code), "", "as planned")
	}, nil
}
