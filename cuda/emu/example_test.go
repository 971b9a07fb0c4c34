package emu_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"remote-client-server/cuda/emu"
)

const doublePTX = `.version 7.0
.target sm_80
.address_size 64
.visible .entry double(.param .u64 x, .param .u32 n)
{
	.reg .pred %p<2>;
	.reg .b32 %r<6>;
	.reg .b64 %rd<4>;
	ld.param.u64 %rd1, [x];
	ld.param.u32 %r1, [n];
	mov.u32 %r2, %tid.x;
	setp.ge.u32 %p1, %r2, %r1;
	@%p1 bra DONE;
	mul.wide.u32 %rd2, %r2, 4;
	add.u64 %rd3, %rd1, %rd2;
	ld.global.u32 %r3, [%rd3];
	shl.b32 %r3, %r3, 1;
	st.global.u32 [%rd3], %r3;
DONE:
	ret;
}`

func Example() {
	target, _ := emu.ParseTarget("sm_80")
	device := emu.NewDevice(target)
	module, err := emu.Parse([]byte(doublePTX))
	if err != nil {
		panic(err)
	}
	kernel, err := module.Kernel("double")
	if err != nil {
		panic(err)
	}
	x, _ := device.Alloc(4 * 3)
	device.Write(x, []byte{1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0})
	for _, n := range []int{3, 4} { // four elements are one more than there are
		params, _ := kernel.Pack(x, n)
		_, err := device.Run(context.Background(), kernel, emu.Launch{Block: [3]int{32}, Params: params})
		var fault *emu.Fault
		if errors.As(err, &fault) {
			fmt.Println(fault.Kind, "at line", fault.Line, "by thread", fault.Thread)
			continue
		}
		out := make([]byte, 12)
		device.Read(x, out)
		fmt.Println(binary.LittleEndian.Uint32(out), binary.LittleEndian.Uint32(out[4:]), binary.LittleEndian.Uint32(out[8:]))
	}
	// Output:
	// 2 4 6
	// out of bounds at line 16 by thread [3 0 0]
}
