package emu

import (
	"fmt"
	"sync"
)

// Module is a parsed PTX text.
type Module struct {
	Version int    // PTX ISA version times ten: 80 is 8.0
	Target  Target // from the .target directive: Arch and Feature only

	vars    map[string]*variable // module scope, every state space
	order   []*variable          // the same in the order of the text
	funcs   map[string]*function
	kernels map[string]*Kernel
	names   []string // kernels in the order of the text
}

// KernelNames lists the module's entry points in the order of the text.
func (m *Module) KernelNames() []string { return append([]string(nil), m.names...) }

// Kernel finds an entry point. Its instructions are decoded on the first call; the error then names the line of an
// instruction that the emulator does not know, or that the module's .version and .target do not have.
func (m *Module) Kernel(name string) (*Kernel, error) {
	k := m.kernels[name]
	if k == nil {
		return nil, fmt.Errorf("ptx: no kernel %q in the module", name)
	}
	k.once.Do(func() { k.err = k.build() })
	return k, k.err
}

// space is a PTX state space.
type space uint8

const (
	spGeneric space = iota
	spReg
	spGlobal
	spShared
	spLocal
	spConst
	spParam
)

func (s space) String() string {
	return [...]string{"generic", "register", "global", "shared", "local", "constant", "parameter"}[s]
}

// variable is a declared array or scalar in memory.
type variable struct {
	name    string
	space   space
	align   int
	size    int  // bytes; 0 for the dynamic shared array
	dynamic bool // .extern .shared name[]
	init    []byte
	relocs  []reloc // addresses inside init
	line    int
	off     int // where the layout put it: shared, local and parameter spaces
	fnArg   int // a parameter of a .func: its position, else -1
}

// reloc is an address of another variable in an initialiser.
type reloc struct {
	off     int
	name    string
	add     int64
	generic bool
}

// Param is one kernel parameter in the packed parameter block.
type Param struct {
	Name                string
	Offset, Size, Align int
}

// function is a .func or the body of an .entry.
type function struct {
	name    string
	line    int
	params  []*variable // memory parameters
	rets    []*variable // return parameters
	body    *scope
	defined bool
}

// scope is one pair of braces: its registers, variables and labels, and its statements in order.
type scope struct {
	parent *scope
	regs   map[string]*regDecl
	ranges []regRange
	vars   map[string]*variable
	labels map[string]bool
	tables map[string][]string // .branchtargets
	stmts  []*stmt
}

// regDecl is a declared register.
type regDecl struct {
	name string
	bank bank
	bits int
}

// regRange is `.reg .b32 %r<100>`: the names %r0 to %r99.
type regRange struct {
	prefix string
	n      int
	bank   bank
	bits   int
}

// bank is where a register lives: predicates are lane masks, everything up to 32 bits shares one bank, 64-bit ones
// have their own.
type bank uint8

const (
	bankPred bank = iota
	bank32
	bank64
)

// stmt is a label, an instruction or a nested scope.
type stmt struct {
	line  int
	label string
	block *scope
	guard string
	neg   bool
	op    []string // the opcode, split at the dots; shared, and never changed
	args  []operand
}

type operandKind uint8

const (
	opName operandKind = iota // register, symbol, label or special register
	opInt
	opFloat32
	opFloat64
	opVec  // {a, b}
	opAddr // [a+off] or [a, {c0, c1}]
	opSink // _
	opPair // p|q
	opParens
)

type operand struct {
	kind operandKind
	name string
	neg  bool // !p, or -name
	num  uint64
	off  int64
	list []operand
}

// Kernel is an entry point, decoded for execution. It is safe for use by several launches at once.
type Kernel struct {
	Name   string
	module *Module
	fn     *function

	params    []Param
	paramSize int
	maxThread [3]int // .maxntid, zero when absent
	reqThread [3]int // .reqntid
	maxReg    int    // .maxnreg
	reqBlocks int    // .minnctapersm
	cluster   [3]int // .reqnctapercluster

	once sync.Once
	err  error

	code        []inst
	n32, n64    int // register slots
	nTracked    int
	nPred       int
	const32     []constSlot
	const64     []constSlot
	specials    []specialSlot
	live        int // estimate of the registers that ptxas needs
	staticBytes int // static shared memory
	dynOff      int // where the dynamic array starts, after the static ones
	dynAlign    int
	localBytes  int
	usesWgmma   bool
	pool        sync.Pool // of *worker
}

type constSlot struct {
	slot int32
	val  uint64
}

type specialSlot struct {
	slot int32
	bank bank
	name string
}

// Params lists the parameters with their places in Launch.Params.
func (k *Kernel) Params() []Param { return append([]Param(nil), k.params...) }

// ParamBytes is the length of Launch.Params.
func (k *Kernel) ParamBytes() int { return k.paramSize }

// Registers is an estimate of the 32-bit registers a thread needs: the most that are alive at one place. The
// assembler's own number differs by up to a fifth either way.
func (k *Kernel) Registers() int { return k.live }

// SharedBytes is the static shared memory of a block.
func (k *Kernel) SharedBytes() int { return k.staticBytes }

// LocalBytes is the local memory of a thread; a kernel that spills or indexes an array has some.
func (k *Kernel) LocalBytes() int { return k.localBytes }

// Lines maps each decoded instruction to its line of the PTX text, in order.
func (k *Kernel) Lines() []int {
	r := make([]int, len(k.code))
	for i := range k.code {
		r[i] = int(k.code[i].line)
	}
	return r
}
