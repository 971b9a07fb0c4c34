//go:build !race

package tokenize

const raceDetector = false
