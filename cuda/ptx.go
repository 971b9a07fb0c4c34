package cuda

import (
	"bytes"
	"fmt"
	"strconv"
)

// drivers maps a version of the PTX language to the CUDA release and the oldest driver branch that read it (the release
// notes in NVIDIA's PTX ISA, and CUDA's table of toolkit and driver versions). In the order of versions.
var drivers = []struct{ ptx, cuda, branch int }{
	{60, 9000, 384}, {61, 9010, 387}, {62, 9020, 396}, {63, 10000, 410}, {64, 10010, 418}, {65, 10020, 440},
	{70, 11000, 450}, {71, 11010, 455}, {72, 11020, 460}, {73, 11030, 465}, {74, 11040, 470}, {75, 11050, 495},
	{76, 11060, 510}, {77, 11070, 515}, {78, 11080, 520}, {80, 12000, 525}, {81, 12010, 530}, {82, 12020, 535},
	{83, 12030, 545}, {84, 12040, 550}, {85, 12050, 555}, {86, 12070, 565}, {87, 12080, 570}, {88, 12090, 575},
	{90, 13000, 580},
}

// PTXDriver is the oldest driver branch that reads a PTX version, ten times major and minor: 525 for 80. It is 0 for a
// version that is not known.
func PTXDriver(version int) (branch int) {
	for _, d := range drivers {
		if d.ptx == version {
			return d.branch
		}
	}
	return 0
}

// VersionOfPTX reads the .version directive, ten times major and minor; 0 if there is none.
func VersionOfPTX(ptx []byte) int {
	for line := range bytes.Lines(ptx[:min(len(ptx), 16<<10)]) {
		f := bytes.Fields(line)
		if len(f) < 2 || string(f[0]) != ".version" {
			continue
		}
		major, minor, ok := bytes.Cut(f[1], []byte("."))
		a, err1 := strconv.Atoi(string(major))
		b, err2 := strconv.Atoi(string(minor))
		if ok && err1 == nil && err2 == nil && a >= 0 && a < 100 && b >= 0 && b < 10 {
			return a*10 + b
		}
		return 0
	}
	return 0
}

// IsPTX tells PTX text from a cubin (an ELF file) and a fat binary.
func IsPTX(image []byte) bool {
	return !bytes.HasPrefix(image, []byte("\x7fELF")) && !bytes.HasPrefix(image, []byte{0x50, 0xed, 0x55, 0xba})
}

// TooNewPTX says which driver PTX text needs, for the error that the driver gives.
func TooNewPTX(ptx []byte, driver int) string {
	v := VersionOfPTX(ptx)
	s := fmt.Sprintf("the kernels are PTX %d.%d", v/10, v%10)
	if b := PTXDriver(v); b != 0 {
		s += fmt.Sprintf(", which needs driver >= R%d", b)
	}
	return s + fmt.Sprintf("; the installed one supports CUDA %s", CUDAVersion(driver))
}

// CUDAVersion writes a driver's number as NVIDIA does: 12.8 for 12080.
func CUDAVersion(v int) string { return fmt.Sprintf("%d.%d", v/1000, v%1000/10) }
