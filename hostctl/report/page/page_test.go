package page

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"picolab/hostctl/report"
	"picolab/hostctl/report/compare"
)

// hostile is what a guest might put into a reason, a name of a file or a kernel's text.
const hostile = `<script>alert(1)</script>" onload="x` + "\x1b[31m"

func run() *report.Outcome {
	o := &report.Outcome{Seconds: 12.5}
	o.Run = report.Run{Started: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Profile: "quick", Command: []string{"hostctl", "run", hostile},
		Host: report.Host{Name: "pc", Kernel: "6.12", Accel: "tcg", QEMU: "10.0"}, Versions: map[string]string{"picolab": "1"},
		Facts:    []report.Fact{{Name: "kvm", Evidence: hostile, Remedy: "modprobe kvm"}},
		Excluded: []report.Excluded{{Instance: "s.ping[nic=e1000,vhost=on]", Reason: "no vhost"}}}
	for i, v := range report.Verdicts() {
		for _, nic := range []string{"virtio", "e1000"} {
			r := report.Result{Case: fmt.Sprintf("s.case%d", i), Result: v, Reason: hostile, Seconds: 61,
				Checks:   []report.Check{{Name: "ping", Expected: "0 %", Got: hostile, OK: v.Good(), Seed: "1"}},
				Evidence: []string{"cases/x y/#1?.pcapng", "javascript:alert(1)", "../../etc/passwd"},
				Notes:    []string{hostile}, Steps: []report.Step{{On: "a", Command: "ping -s 64 10.0.0.1", Seconds: 0.5}}}
			r.Instance = r.Case + "[nic=" + nic + "]"
			for n, size := range []string{"64", "1500", "65507"} {
				r.Figures = append(r.Figures, report.Figure{Name: "rtt", Unit: "us", Better: report.LowerIsBetter,
					At: map[string]string{"size": size}, Values: []float64{float64(100 * (n + 1))}})
			}
			o.Results = append(o.Results, r)
			o.Run.Planned = append(o.Run.Planned, r.Instance)
		}
	}
	o.Run.Planned = append(o.Run.Planned, "s.lost")
	return o
}

// document is what a browser's parser makes of a page.
type document struct {
	ids   map[string]int
	hrefs []string
	tags  map[string]int
	attrs map[string]int
	text  strings.Builder
}

func parse(t *testing.T, page []byte) *document {
	t.Helper()
	root, err := html.Parse(bytes.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	d := &document{ids: map[string]int{}, tags: map[string]int{}, attrs: map[string]int{}}
	for n := range root.Descendants() {
		if n.Type == html.TextNode {
			d.text.WriteString(n.Data)
			continue
		}
		d.tags[n.Data]++
		for _, a := range n.Attr {
			d.attrs[a.Key]++
			switch a.Key {
			case "id":
				d.ids[a.Val]++
			case "href":
				d.hrefs = append(d.hrefs, a.Val)
			}
		}
	}
	return d
}

// TestRender looks at the page as a browser's parser does: nothing is loaded from elsewhere or run, every link inside leads
// somewhere, and all there is to tell is told.
func TestRender(t *testing.T) {
	data, err := Render(run())
	if err != nil {
		t.Fatal(err)
	}
	d := parse(t, data)
	for _, tag := range []string{"script", "link", "img", "iframe", "object"} {
		if d.tags[tag] > 0 {
			t.Errorf("%d elements %s", d.tags[tag], tag)
		}
	}
	if d.attrs["onload"] > 0 || d.attrs["src"] > 0 {
		t.Errorf("attributes %v", d.attrs)
	}
	for id, n := range d.ids {
		if n > 1 {
			t.Errorf("id %s is there %d times", id, n)
		}
	}
	for _, h := range d.hrefs {
		if id, inside := strings.CutPrefix(h, "#"); inside && d.ids[id] == 0 {
			t.Errorf("link to %s leads nowhere", h)
		} else if !inside && (!strings.HasPrefix(h, "./") || strings.Contains(h, "..")) {
			t.Errorf("link to %s leaves the folder", h)
		}
	}
	for _, want := range []string{"alert(1)", "ping -s 64 10.0.0.1", "no vhost", "modprobe kvm", "no result: the run ended", "14 of 15", "65507"} {
		if !strings.Contains(d.text.String(), want) {
			t.Errorf("the text lacks %q", want)
		}
	}
	if got := d.tags["svg"]; got != len(report.Verdicts()) {
		t.Errorf("%d plots, want one for each case with figures", got)
	}
	if bytes.Contains(data, []byte("url(")) || bytes.Contains(data, []byte("@import")) {
		t.Error("the style loads something")
	}
	checkSame(t, data)
}

// checkSame shows that a run has one page.
func checkSame(t *testing.T, want []byte) {
	t.Helper()
	for range 10 {
		got, err := Render(run())
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Fatal("the same run gave another page")
		}
	}
}

// TestHeatMap has a square for each instance, and letters so that colours are not needed.
func TestHeatMap(t *testing.T) {
	m := newHeatMap(report.WithMissing(run()))
	if len(m.Columns) != 3 || m.Columns[0] != "" || m.Columns[1] != "e1000" {
		t.Fatalf("columns %q", m.Columns)
	}
	squares, seen := 0, map[string]bool{}
	for _, r := range m.Rows {
		for _, c := range r.Cells {
			for _, s := range c {
				squares++
				seen[s.Letter] = true
			}
		}
	}
	if squares != 2*len(report.Verdicts())+1 || len(seen) != len(report.Verdicts()) {
		t.Errorf("%d squares, %d letters", squares, len(seen))
	}
}

func TestScale(t *testing.T) {
	for _, tt := range []struct {
		values []float64
		log    bool
		ticks  int
	}{
		{[]float64{0, 0}, false, 0}, {[]float64{0, 100}, false, 0}, {[]float64{37, 41}, false, 0},
		{[]float64{1, 999}, false, 0}, {[]float64{0.5, 40_000}, true, 0}, {[]float64{0, 3, 9e6}, true, 0},
	} {
		a := scale(tt.values)
		if a.log != tt.log || len(a.ticks) < 3 || len(a.ticks) > 12 {
			t.Errorf("%v: log %v, ticks %v", tt.values, a.log, a.ticks)
		}
		for _, v := range tt.values {
			if p := a.place(v); math.IsNaN(p) || p < 0 || p > 1 {
				t.Errorf("%v: %v is at %v", tt.values, v, p)
			}
		}
	}
}

func TestPlotEscapes(t *testing.T) {
	svg := plot(hostile, hostile, []string{hostile}, []report.Series{{Label: hostile, Points: []report.Point{{X: hostile, Value: 1}}}})
	d := parse(t, []byte(svg))
	if d.tags["script"] > 0 || d.attrs["onload"] > 0 {
		t.Errorf("%s", svg)
	}
	if plot("us", "size", nil, nil) != "" {
		t.Error("a plot of nothing")
	}
}

func TestRenderComparison(t *testing.T) {
	slow := run()
	slow.Results[0].Result, slow.Results[0].Reason = report.Fail, hostile
	for i := range slow.Results {
		slow.Results[i].Figures[0].Values = []float64{1e6}
	}
	c := compare.Of(compare.Side{Name: "a", Runs: []*report.Outcome{run()}}, compare.Side{Name: hostile, Runs: []*report.Outcome{slow}})
	data, err := RenderComparison(c)
	if err != nil {
		t.Fatal(err)
	}
	d := parse(t, data)
	if d.tags["script"] > 0 || d.tags["tr"] != 2+1+len(c.Figures) {
		t.Errorf("%d rows for %d figures, %d scripts", d.tags["tr"], len(c.Figures), d.tags["script"])
	}
}
