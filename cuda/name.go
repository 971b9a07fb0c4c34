package cuda

import (
	"fmt"
	"strconv"
	"strings"
)

// ParseName reads a device's name, "cuda" or "cuda:N", and gives its ordinal, 0 where none is said. The driver counts
// only the GPUs that CUDA_VISIBLE_DEVICES shows, in its order.
func ParseName(name string) (ordinal int, err error) {
	rest, ok := strings.CutPrefix(name, "cuda")
	if !ok {
		return 0, fmt.Errorf("cuda: device %q: want cuda or cuda:N", name)
	}
	if rest == "" {
		return 0, nil
	}
	digits, ok := strings.CutPrefix(rest, ":")
	n, err := strconv.ParseUint(digits, 10, 16)
	if !ok || err != nil || strconv.FormatUint(n, 10) != digits {
		return 0, fmt.Errorf("cuda: device %q: want cuda or cuda:N", name)
	}
	return int(n), nil
}
