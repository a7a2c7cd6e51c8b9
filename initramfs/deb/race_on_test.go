//go:build race

package deb

const raceEnabled = true
