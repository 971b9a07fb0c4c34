package cpu_test

import (
	"fmt"

	"remote-client-server/runtime"
	"remote-client-server/runtime/cpu"
)

// A product of two rows with a matrix of three.
func Example() {
	b, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close()
	p, _ := b.Precision("auto", runtime.F32)
	load := b.Load("example", p)
	defer load.Close()
	w, err := load.Linear(runtime.LinearSpec{
		Name: "w", W: []runtime.Source{runtime.FloatSource("w", 3, []float32{1, 0, 0, 1, 1, 1})}, Act: runtime.ReLU,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	x := b.Scratch(2, 2, runtime.F32)
	b.Upload(x, []float32{1, 2, 3, -4})
	y := make([]float32, 6)
	if err := b.Download(y, b.Linear(x, w)); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(y)
	// Output: [1 2 3 3 0 0]
}
