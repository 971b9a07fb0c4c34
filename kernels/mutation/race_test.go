//go:build race

package mutation

const raced = true
