//go:build !race

package kerneltest

const raced = false
