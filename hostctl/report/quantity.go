package report

import (
	"strconv"
	"time"
)

// Quantity returns the number that text is: a plain number, or a time such as "100us" in seconds.
func Quantity(text string) (float64, bool) {
	if v, err := strconv.ParseFloat(text, 64); err == nil {
		return v, true
	}
	if d, err := time.ParseDuration(text); err == nil {
		return d.Seconds(), true
	}
	return 0, false
}
