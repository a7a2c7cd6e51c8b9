//go:build !race

package deb

const raceEnabled = false
