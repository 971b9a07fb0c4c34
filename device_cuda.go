//go:build !emu

package main

import "remote-client-server/cuda"

// emulatedDevices are what --model_device takes beside cpu and cuda, as part of a
// regular expression: nothing.
const emulatedDevices = ""

func (c *config) openGPU(d *device, cache *cuda.Cache) (*cuda.Device, error) {
	return c.openCUDA(d, cache)
}
