//go:build !race

package cell

// raceEnabled is the counterpart of race_test.go.
const raceEnabled = false
