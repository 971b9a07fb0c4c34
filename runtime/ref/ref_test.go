package ref_test

import (
	"testing"

	"remote-client-server/runtime"
	"remote-client-server/runtime/optest"
	"remote-client-server/runtime/ref"
)

// The suite over the reference itself shows that the suite's own bookkeeping is right.
func TestConformance(t *testing.T) {
	optest.Run(t, optest.Config{
		New:    func(testing.TB) runtime.Backend { return ref.New() },
		DTypes: []string{"float32"},
		Decode: true,
		Quick:  true,
	})
}
