package netperf

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// defaultSelectors are the output of an omni test that names none.
var defaultSelectors = []string{"LSS_SIZE_END", "RSR_SIZE_END", "LOCAL_SEND_SIZE", "ELAPSED_TIME", "THROUGHPUT", "THROUGHPUT_UNITS"}

// selectRows reads a choice of output: "" the default, "all", names with commas (";" begins a row of its own), or a
// file with names, a row to a line.
func selectRows(choice string) ([][]string, error) {
	switch choice {
	case "":
		return [][]string{defaultSelectors}, nil
	case "all":
		return allRows(), nil
	}
	if data, err := os.ReadFile(choice); err == nil {
		choice = string(data)
	}
	var rows [][]string
	for line := range strings.FieldsFuncSeq(choice, func(r rune) bool { return r == '\n' || r == ';' }) {
		row := strings.FieldsFunc(strings.ToUpper(line), func(r rune) bool { return strings.ContainsRune(", \t\r", r) })
		for _, key := range row {
			if _, ok := values[key]; !ok && headingOf(key) == nil {
				return nil, fmt.Errorf("output selector %q: unknown, and no file; '?' lists them", key)
			}
		}
		if len(row) > 0 {
			rows = append(rows, row)
		}
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("output selectors %q: none named", choice)
	}
	return rows, nil
}

// allRows is every selector, 24 in a row.
func allRows() (rows [][]string) {
	for i, h := range headings {
		if i%24 == 0 {
			rows = append(rows, nil)
		}
		last := &rows[len(rows)-1]
		*last = append(*last, h.key)
	}
	return rows
}

// SelectorNames lists the output selectors in the original's order.
func SelectorNames() []string {
	names := []string{"OUTPUT_NONE"}
	for _, h := range headings {
		names = append(names, h.key)
	}
	return append(names, "OUTPUT_END")
}

func headingOf(key string) []string {
	for _, h := range headings {
		if h.key == key {
			return strings.Split(h.lines, "\n")
		}
	}
	return nil
}

// deprecated is what netperf 2.7 shows for what it no longer finds out; the numbers it shows are in values.
const deprecated = "Deprecated"

// value is the text of a selector.
func (o *output) value(key string) string {
	if f, ok := values[key]; ok {
		return f(o)
	}
	return deprecated
}

// number formats as the original does, with digits after the point.
func number(v float64, digits int) string { return strconv.FormatFloat(v, 'f', digits, 64) }

func whole[T int | int32 | uint64](v T) string { return fmt.Sprint(v) }

// per is a ratio, 0 of nothing.
func per(a, b uint64) string {
	if b == 0 {
		return "0.00"
	}
	return number(float64(a)/float64(b), 2)
}

func (o *output) perSecond(bytes uint64) string {
	return number(o.inUnit(8*float64(bytes)/o.result.Elapsed), 2)
}

// microseconds is a latency, -1 when none was measured.
func (o *output) microseconds(digits int, f func(*Latency) float64) string {
	if o.result.Latency == nil {
		return number(-1, digits)
	}
	return number(f(o.result.Latency), digits)
}

// width is a confidence, -1 when there is none.
func (o *output) width(f func(*Confidence) float64) string {
	if o.result.Confidence == nil {
		return "-1.000"
	}
	return number(f(o.result.Confidence), 3)
}

func wanted(n int) string {
	if n == 0 {
		return "-1"
	}
	return whole(n)
}

func boolean(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

func constant(s string) func(*output) string { return func(*output) string { return s } }

func (o *output) direction() string {
	return map[Direction]string{Send: "Send", Receive: "Recv", RR: "Send|Recv"}[o.result.spec.Direction]
}

func (o *output) family() string {
	if o.ipv6() {
		return whole(unix.AF_INET6)
	}
	return whole(unix.AF_INET)
}

// roundTrip is the mean time of a transaction as its rate gives it, microseconds; -1 in a stream test.
func (o *output) roundTrip() float64 {
	if r := o.result; r.TransactionRate > 0 {
		return float64(1+r.Burst) * 1e6 / r.TransactionRate
	}
	return -1
}
