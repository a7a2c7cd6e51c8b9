package report

import (
	"bytes"
	"math"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/perf/benchfmt"
)

// measured is a run with figures of two cards at three sizes.
func measured() *Outcome {
	o := sample()
	o.Results = o.Results[:2]
	for i, base := range []float64{100, 300} {
		for n, size := range []string{"1500", "64", "65507"} {
			at := map[string]string{"size": size, "interval": "10ms"}
			rtt := base * float64(n+1)
			o.Results[i].Figures = append(o.Results[i].Figures,
				Figure{Name: "rtt-p50", Unit: "us", Better: LowerIsBetter, At: at, Values: []float64{rtt, rtt + 2, rtt + 1}},
				Figure{Name: "loss", Unit: "%", Better: LowerIsBetter, At: at, Values: []float64{0}})
		}
	}
	return o
}

// TestBenchmarks has the format's own reader judge the lines.
func TestBenchmarks(t *testing.T) {
	o := measured()
	o.Run.Host, o.Run.Profile = o.Results[0].Host, "quick"
	o.Results[0].Figures[0].At["note"] = "a/b c"
	var b bytes.Buffer
	if err := Benchmarks(&b, o); err != nil {
		t.Fatal(err)
	}
	names, better := map[string]int{}, map[string]string{}
	values := 0
	for r := benchfmt.NewReader(&b, "bench.txt"); r.Scan(); {
		switch rec := r.Result().(type) {
		case *benchfmt.SyntaxError:
			t.Error(rec)
		case *benchfmt.UnitMetadata:
			better[rec.Unit] = rec.Value
		case *benchfmt.Result:
			names[string(rec.Name)]++
			values += len(rec.Values)
			if rec.GetConfig("kernel") != "6.12" || rec.GetConfig("image") != "-" {
				t.Errorf("%s: kernel %q, image %q", rec.Name, rec.GetConfig("kernel"), rec.GetConfig("image"))
			}
		}
	}
	if len(better) != 2 || better["loss-percent"] != "lower" {
		t.Errorf("directions %v", better)
	}
	if values != 2*3*(3+1) {
		t.Errorf("%d values, want 24", values)
	}
	for name, n := range map[string]int{
		"S.ping/nic=virtio/interval=10ms/note=a_b_c/size=1500": 3 + 1, // the two figures share the map
		"S.ping/nic=e1000/interval=10ms/size=64":               3 + 1,
	} {
		if names[name] != n {
			t.Errorf("%d lines of %s, want %d; there are %v", names[name], name, n, names)
		}
	}
}

func TestCollect(t *testing.T) {
	o := measured()
	if x := Abscissa(o.Results, "rtt-p50"); x != "size" {
		t.Errorf("over %q, want size", x)
	}
	if x := Abscissa(sample().Results, "rtt-p50"); x != "" {
		t.Errorf("no figure is over %q", x)
	}
	xs, series := Collect(o.Results, "rtt-p50", "size")
	if !slices.Equal(xs, []string{"64", "1500", "65507"}) {
		t.Errorf("places %v: not in the order of numbers", xs)
	}
	if len(series) != 2 || series[0].Label != "nic=virtio interval=10ms" {
		t.Fatalf("series %+v", series)
	}
	want := []Point{{"64", 201}, {"1500", 101}, {"65507", 301}} // medians
	if !slices.Equal(series[0].Points, want) {
		t.Errorf("points %v, want %v", series[0].Points, want)
	}
}

func TestFigureRefuses(t *testing.T) {
	good := Figure{Name: "rtt", Unit: "us", Values: []float64{1}}
	if err := good.validate(); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*Figure){
		"no name":       func(f *Figure) { f.Name = "" },
		"two words":     func(f *Figure) { f.Name = "round trip" },
		"no unit":       func(f *Figure) { f.Unit = "" },
		"no value":      func(f *Figure) { f.Values = nil },
		"not a number":  func(f *Figure) { f.Values = []float64{math.NaN()} },
		"infinite":      func(f *Figure) { f.Values = []float64{math.Inf(1)} },
		"odd direction": func(f *Figure) { f.Better = "sideways" },
	} {
		f := good
		spoil(&f)
		r := Result{Case: "a", Instance: "a", Result: Pass, Figures: []Figure{f}}
		if r.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		values []float64
		want   float64
	}{{[]float64{3}, 3}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 2, 9}, 3}} {
		f := Figure{Values: tt.values}
		if got := f.Median(); got != tt.want {
			t.Errorf("median of %v is %v, want %v", tt.values, got, tt.want)
		}
	}
}

// TestTAP counts what a reader of TAP counts.
func TestTAP(t *testing.T) {
	o := sample()
	o.Results[1].Reason = "# a hash\x1b[1m"
	var b bytes.Buffer
	if err := TAP(&b, o); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	if !strings.HasPrefix(text, "KTAP version 1\n1..6\n") {
		t.Errorf("begins with %q", text[:30])
	}
	for pattern, want := range map[string]int{"\n  ok ": 4, "\n  not ok ": 3, "\nnot ok ": 3, "\nok ": 3, " # SKIP needs": 1, " # XFAIL bug": 1, " # ERROR no QEMU": 1, "\x1b": 0} {
		if got := strings.Count(text, pattern); got != want {
			t.Errorf("%d times %q, want %d\n%s", got, pattern, want, text)
		}
	}
}

// TestTAPByProve has Perl's TAP::Parser read one case's lines.
func TestTAPByProve(t *testing.T) {
	prove, err := exec.LookPath("prove")
	if err != nil {
		t.Skip("prove(1) not installed")
	}
	o := sample()
	var b bytes.Buffer
	if err := TAP(&b, o); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(prove, "--exec", "cat", "-v", "/dev/stdin")
	cmd.Stdin = &b
	out, _ := cmd.CombinedOutput() // it fails because tests do
	if !strings.Contains(string(out), "Failed 3/6 subtests") {
		t.Errorf("prove: %s", out)
	}
}
