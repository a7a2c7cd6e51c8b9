package report

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// Step is one thing an instance did, as a person would type it.
type Step struct {
	On      string  `json:"on"`      // "host", a guest's name, or "qemu a" for a guest's monitor
	Command string  `json:"command"` // shell, or QMP as JSON
	Seconds float64 `json:"seconds"` // since the instance began
}

// Direction says which values of a figure are good.
type Direction string

// The directions. A figure without one is shown and never judged.
const (
	HigherIsBetter Direction = "higher"
	LowerIsBetter  Direction = "lower"
	Neither        Direction = ""
)

// Figure is something an instance measured, once or several times.
type Figure struct {
	Name   string            `json:"name"`         // rtt-p50, throughput
	Unit   string            `json:"unit"`         // us, Mbit/s, %
	Better Direction         `json:"better"`       // which way is good
	At     map[string]string `json:"at,omitempty"` // what was varied inside the instance: size=64
	Values []float64         `json:"values"`       // in the order they were measured
}

// Median returns the middle of the values, NaN without any.
func (f *Figure) Median() float64 {
	if len(f.Values) == 0 {
		return math.NaN()
	}
	v := slices.Sorted(slices.Values(f.Values))
	mid := len(v) / 2
	if len(v)%2 == 1 {
		return v[mid]
	}
	return (v[mid-1] + v[mid]) / 2
}

// Where is At as text, "interval=1ms size=64", sorted by name.
func (f *Figure) Where() string {
	words := make([]string, 0, len(f.At))
	for _, k := range slices.Sorted(maps.Keys(f.At)) {
		words = append(words, k+"="+f.At[k])
	}
	return strings.Join(words, " ")
}

// validate reports what is wrong with a figure that is to be written.
func (f *Figure) validate() error {
	switch {
	case f.Name == "" || strings.ContainsAny(f.Name, " \t\n/"):
		return fmt.Errorf("figure %q: a name is one word", f.Name)
	case f.Unit == "" || strings.ContainsAny(f.Unit, " \t\n"):
		return fmt.Errorf("figure %s: %q is no unit", f.Name, f.Unit)
	case f.Better != HigherIsBetter && f.Better != LowerIsBetter && f.Better != Neither:
		return fmt.Errorf("figure %s: better is %q", f.Name, f.Better)
	case len(f.Values) == 0:
		return fmt.Errorf("figure %s: no value", f.Name)
	case slices.ContainsFunc(f.Values, func(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) }):
		return errors.New("figure " + f.Name + ": a value is no number")
	}
	return nil
}

// Series is the values of one figure over one parameter, the others being the same.
type Series struct {
	Label  string // the instance and the other parameters
	Points []Point
}

// Point is a value at a place of the horizontal axis.
type Point struct {
	X     string
	Value float64
}

// numeric orders "64" before "1500" and "100us" before "1ms" as numbers, other text as text.
func numeric(a, b string) int {
	x, xok := Quantity(a)
	y, yok := Quantity(b)
	if xok && yok {
		return cmp.Compare(x, y)
	}
	return cmp.Compare(a, b)
}
