//go:build race

package main

// raced says that the race detector slows these tests down: the heavy ones do
// less then.
const raced = true
