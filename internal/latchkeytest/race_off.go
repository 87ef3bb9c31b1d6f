//go:build !race

package latchkeytest

const raceEnabled = false
