//go:build race

package tokenize

// raceDetector tells tests to try a part of what they try without it.
const raceDetector = true
