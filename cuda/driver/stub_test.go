//go:build !linux || !(amd64 || arm64) || nocuda

package driver

import (
	"errors"
	"strings"
	"testing"

	"remote-client-server/cuda"
)

func TestASystemWithoutCUDASaysSo(t *testing.T) {
	_, device := Open(0, Options{})
	_, count := Count(Options{})
	_, nvml := OpenNVML(nil)
	_, blas := OpenBlasLt(nil, nil, 0)
	for call, err := range map[string]error{"open": device, "count": count, "nvml": nvml, "blas": blas} {
		if !errors.Is(err, cuda.ErrNoDriver) || !strings.Contains(err.Error(), "no CUDA on this system") {
			t.Errorf("%s: %v", call, err)
		}
	}
}
