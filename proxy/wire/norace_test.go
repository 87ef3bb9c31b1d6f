//go:build !race

package wire

// raceEnabled says that the race detector is on: sync.Pool then drops buffers at random.
const raceEnabled = false
