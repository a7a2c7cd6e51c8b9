package catalogue

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Param returns a parameter of the case in the run's profile.
func (t *T) Param(name string) string {
	v, ok := t.in.Case.Params.Get(t.profile, name)
	if !ok {
		t.specf("no parameter %q", name)
	}
	return v
}

// Words returns a parameter that is a list of words.
func (t *T) Words(name string) []string { return strings.Fields(t.Param(name)) }

// Int returns a parameter that is a whole number.
func (t *T) Int(name string) int { return parse(t, name, t.Param(name), strconv.Atoi) }

// Ints returns a parameter that is a list of whole numbers.
func (t *T) Ints(name string) []int { return parseList(t, name, strconv.Atoi) }

// Duration returns a parameter that is a time span, such as "100us".
func (t *T) Duration(name string) time.Duration {
	return parse(t, name, t.Param(name), time.ParseDuration)
}

// Durations returns a parameter that is a list of time spans.
func (t *T) Durations(name string) []time.Duration { return parseList(t, name, time.ParseDuration) }

// Bytes returns a parameter that is an amount of data, such as "32MiB".
func (t *T) Bytes(name string) int64 { return parse(t, name, t.Param(name), ParseSize) }

func parse[V any](t *T, name, text string, fn func(string) (V, error)) V {
	v, err := fn(text)
	if err != nil {
		t.specf("parameter %s: %v", name, err)
	}
	return v
}

func parseList[V any](t *T, name string, fn func(string) (V, error)) []V {
	var list []V
	for _, word := range t.Words(name) {
		list = append(list, parse(t, name, word, fn))
	}
	return list
}

// units of [ParseSize]; a longer suffix comes before one it ends with.
var units = []struct {
	suffix string
	bytes  int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"B", 1}, {"", 1}}

// ParseSize reads an amount of data: a whole number, then B, KiB, MiB or GiB.
func ParseSize(s string) (int64, error) {
	for _, u := range units {
		digits, ok := strings.CutSuffix(s, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64/u.bytes {
			return 0, fmt.Errorf("parse size: %q is not a number with B, KiB, MiB or GiB", s)
		}
		return n * u.bytes, nil
	}
	return 0, fmt.Errorf("parse size: %q", s)
}
