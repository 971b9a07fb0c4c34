package emu

import "fmt"

// FaultKind classes what a kernel did wrong.
type FaultKind uint8

const (
	OutOfBounds       FaultKind = iota + 1 // an address in no allocation, or past its end
	Misaligned                             // an address that is no multiple of the access
	Uninitialised                          // memory or a register read before it was written
	UseAfterFree                           // memory that has been freed
	SharedRace                             // two unordered accesses to shared memory, one of them a write
	GlobalRace                             // the same between blocks, in global memory
	Deadlock                               // every live warp waits
	DivergentBarrier                       // an aligned barrier or collective without all threads of the warp
	InvalidMask                            // a member mask without the executing lane, or a lane that takes no part
	MissingAsyncWait                       // data or registers of an asynchronous operation touched in flight
	MissingFence                           // no wgmma.fence, or no fence.proxy.async between generic and async access
	WrongTransaction                       // an mbarrier expects other bytes than arrive
	BadBarrier                             // mbarrier or named barrier used against its rules
	TooManyResources                       // registers, threads or shared memory beyond the target
	NotOnTarget                            // code for another GPU
	InstructionBudget                      // a warp ran longer than the launch allows
	BadOperand                             // a value outside an instruction's domain
	Trap                                   // the kernel executed trap
	ReadOnly                               // a write to constant memory or to parameters
	BadLaunch                              // grid, block or parameters that no kernel can have
	Internal                               // the emulator failed: a defect of ours, not of the kernel
)

var faultNames = [...]string{
	OutOfBounds: "out of bounds", Misaligned: "misaligned", Uninitialised: "uninitialised read", UseAfterFree: "use after free",
	SharedRace: "shared memory race", GlobalRace: "global memory race", Deadlock: "deadlock", DivergentBarrier: "divergent barrier",
	InvalidMask: "invalid member mask", MissingAsyncWait: "missing asynchronous wait", MissingFence: "missing fence",
	WrongTransaction: "wrong transaction count", BadBarrier: "barrier misuse", TooManyResources: "too many resources",
	NotOnTarget: "not available on the target", InstructionBudget: "instruction budget", BadOperand: "bad operand", Trap: "trap",
	ReadOnly: "write to read-only memory", BadLaunch: "bad launch", Internal: "emulator failure",
}

func (k FaultKind) String() string {
	if int(k) < len(faultNames) && faultNames[k] != "" {
		return faultNames[k]
	}
	return fmt.Sprintf("fault %d", uint8(k))
}

// Fault is what a kernel did wrong, and where.
type Fault struct {
	Kind   FaultKind
	Kernel string
	Block  [3]int // position in the grid
	Thread [3]int // position in the block; of a whole warp, its first active lane
	Line   int    // of the PTX text; 0 where no instruction is to blame
	Text   string
}

func (f *Fault) Error() string {
	s := fmt.Sprintf("%v: kernel %s", f.Kind, f.Kernel)
	if f.Line != 0 {
		s += fmt.Sprintf(", block (%d,%d,%d), thread (%d,%d,%d), ptx line %d", f.Block[0], f.Block[1], f.Block[2],
			f.Thread[0], f.Thread[1], f.Thread[2], f.Line)
	}
	return s + ": " + f.Text
}

// Is makes errors.Is(err, &Fault{Kind: k}) match every fault of that kind.
func (f *Fault) Is(target error) bool {
	t, ok := target.(*Fault)
	return ok && t.Kind == f.Kind && t.Text == "" && t.Kernel == ""
}

// fail stops the block with a fault of the given lane at the warp's current instruction.
func (w *warp) fail(kind FaultKind, lane int, format string, args ...any) {
	panic(w.fault(kind, lane, format, args...))
}

func (w *warp) fault(kind FaultKind, lane int, format string, args ...any) *Fault {
	f := &Fault{Kind: kind, Kernel: w.k.Name, Block: w.cta.id, Thread: w.thread(lane), Text: fmt.Sprintf(format, args...)}
	if int(w.pc) < len(w.k.code) {
		f.Line = int(w.k.code[w.pc].line)
	}
	return f
}

// thread is the position of a lane's thread in its block.
func (w *warp) thread(lane int) [3]int {
	t, b := w.id*32+lane, w.cta.cl.launch.Block
	return [3]int{t % b[0], t / b[0] % b[1], t / b[0] / b[1]}
}

// failAt stops the block with a fault that blames another instruction than the current one.
func (w *warp) failAt(pc int32, kind FaultKind, lane int, format string, args ...any) {
	w.pc = pc
	w.fail(kind, lane, format, args...)
}
