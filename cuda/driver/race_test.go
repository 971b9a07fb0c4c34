//go:build race

package driver

const raceEnabled = true // the detector allocates on its own
