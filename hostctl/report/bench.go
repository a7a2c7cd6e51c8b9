package report

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// BenchFile is the name of the figures of a run as Go benchmark lines.
const BenchFile = "bench.txt"

// Benchmarks writes the figures of a run in the Go benchmark format, which benchstat reads
// (https://go.dev/design/14313-benchmark-format): the instance's axes and the figure's place are name=value parts of the
// benchmark's name, and each value that was measured is a line of its own.
func Benchmarks(w io.Writer, o *Outcome) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "host: %s\nkernel: %s\naccel: %s\nqemu: %s\nimage: %s\nprofile: %s\n",
		word(o.Run.Host.Name), word(o.Run.Host.Kernel), word(o.Run.Host.Accel), word(o.Run.Host.QEMU), word(o.Run.Image), word(o.Run.Profile))
	told := map[string]bool{}
	for i := range o.Results {
		r := &o.Results[i]
		for _, f := range r.Figures {
			name := benchmarkName(r, &f)
			if unit := unitOf(&f); f.Better != Neither && !told[unit] {
				told[unit] = true
				fmt.Fprintf(b, "Unit %s better=%s\n", unit, f.Better)
			}
			for _, v := range f.Values {
				fmt.Fprintf(b, "%s 1 %s %s\n", name, strconv.FormatFloat(v, 'g', -1, 64), unitOf(&f))
			}
		}
	}
	if err := b.Flush(); err != nil {
		return fmt.Errorf("write benchmarks: %w", err)
	}
	return nil
}

// unitOf joins name and unit: benchstat makes a table of each.
func unitOf(f *Figure) string {
	return word(f.Name) + "-" + strings.ReplaceAll(f.Unit, "%", "percent")
}

func benchmarkName(r *Result, f *Figure) string {
	var b strings.Builder
	b.WriteString("Benchmark")
	for i, c := range r.Case {
		if i == 0 {
			c = unicode.ToUpper(c)
		}
		b.WriteRune(c)
	}
	for _, axis := range Axes(r.Instance) {
		b.WriteString("/" + word(axis))
	}
	for _, k := range slices.Sorted(maps.Keys(f.At)) {
		b.WriteString("/" + word(k+"="+f.At[k]))
	}
	return b.String()
}

// Axes returns the "axis=value" parts of an instance's id.
func Axes(instance string) []string {
	_, rest, ok := strings.Cut(instance, "[")
	if !ok {
		return nil
	}
	return strings.Split(strings.TrimSuffix(rest, "]"), ",")
}

// word is text without what ends a word or a part of a benchmark's name.
func word(text string) string {
	if text == "" {
		return "-"
	}
	return strings.Map(func(r rune) rune {
		if r == '/' || unicode.IsSpace(r) || unicode.IsControl(r) {
			return '_'
		}
		return r
	}, text)
}
