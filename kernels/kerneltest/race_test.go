//go:build race

package kerneltest

const raced = true
