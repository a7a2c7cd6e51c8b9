package netperf

import (
	"encoding/json"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// sample is a result with figures that have been seen in the original's output, so that its lines can be compared.
func sample(t *testing.T, test string) *Result {
	kind, err := TestNamed(test)
	if err != nil {
		t.Fatal(err)
	}
	busy := Utilization{Method: "S", CPUs: 2, Total: 77.13}
	r := &Result{Test: test, spec: kind, Elapsed: 1.0, Segment: 65483, Throughput: 3760e6}
	r.Local = End{SendBuffer: 16384, RecvBuffer: 131072, SendSize: 16384, BytesSent: 470e6, SendCalls: 28686, CPU: busy, Demand: 43.143, Address: "0.0.0.0", Congestion: "bbr"}
	r.Remote = End{SendBuffer: 16384, RecvBuffer: 131072, RecvSize: 131072, BytesReceived: 470e6, RecvCalls: 4000, CPU: busy, Demand: 43.143, Address: "127.0.0.1", Congestion: "bbr"}
	if kind.Direction == RR {
		r.Request, r.Response, r.TransactionRate = 1, 1, 35754.6
	}
	if kind.udp() {
		r.Local.SendBuffer, r.Remote.RecvBuffer, r.Local.SendSize, r.Local.SendCalls, r.Remote.RecvCalls = 212992, 212992, 65507, 64906, 7884
		r.Local.BytesSent, r.Throughput = 34010.91e6/8, 4131.24e6
	}
	return r
}

// TestClassicLines compares figures in their columns with lines that the original printed.
func TestClassicLines(t *testing.T) {
	for _, tc := range []struct{ args, want string }{
		{"-t TCP_STREAM", "131072  16384  16384    1.00     3760.00   \n"},
		{"-t TCP_STREAM -v 0", "3760.00 \n"},
		{"-t TCP_STREAM -f M", "131072  16384  16384    1.00      448.23   \n"},
		{"-t TCP_STREAM -c -C", "131072  16384  16384    1.00       3760.00   77.13    77.13    43.143  43.143 \n"},
		{"-t TCP_STREAM -c -C -v 0", "43.143 S \n"},
		{"-t UDP_STREAM", "212992   65507   1.00        64906      0    34010.91\n212992           1.00         7884           4131.24\n\n"},
		{"-t UDP_STREAM -c -C", "212992   65507   1.00        64906      0    34010.9     77.13    43.143\n212992           1.00         7884            4131.2     77.13    43.143\n\n"},
		{"-t TCP_RR", "16384  131072 1        1       1.00     35754.60   \n16384  131072\n"},
		{"-t TCP_RR -c -C", "16384  131072 1       1      1.00    35754.60  77.13  77.13  43.143  43.143 \n16384  131072\n"},
		{"-t TCP_RR -- -k PROTOCOL,THROUGHPUT,THROUGHPUT_UNITS", "PROTOCOL=TCP\nTHROUGHPUT=35754.60\nTHROUGHPUT_UNITS=Trans/s\n"},
		{"-t TCP_RR -- -o RT_LATENCY,LOCAL_CONG_CONTROL", "27.968,bbr\n"},
		{"-t TCP_RR -- -O RT_LATENCY,LOCAL_CONG_CONTROL", "27.968    bbr        \n"},
	} {
		o, err := ParseOptions(append([]string{"-P", "0"}, strings.Fields(tc.args)...))
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := o.Write(&b, sample(t, o.Config.Test.Name)); err != nil || b.String() != tc.want {
			t.Errorf("%s: %v\n%q, want\n%q", tc.args, err, b.String(), tc.want)
		}
	}
}

func TestEverySelector(t *testing.T) {
	o, err := ParseOptions([]string{"--", "-k", "all"})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := o.Write(&b, sample(t, "TCP_STREAM")); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(b.String(), "\n"); n != len(headings) || len(headings) != 173 {
		t.Errorf("%d lines for %d selectors", n, len(headings))
	}
	for key := range values {
		if headingOf(key) == nil && key != "OUTPUT_NONE" && key != "OUTPUT_END" {
			t.Errorf("%s has no heading", key)
		}
	}
	o.Selectors = "NOSUCH"
	if err := o.Write(&b, sample(t, "TCP_STREAM")); err == nil {
		t.Error("unknown selector: no error")
	}
}

func TestJSON(t *testing.T) {
	o, err := ParseOptions([]string{"--json", "-t", "TCP_RR"})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := o.Write(&b, sample(t, "TCP_RR")); err != nil {
		t.Fatal(err)
	}
	var doc struct {
		UUID  string
		Rate  float64 `json:"transactions_per_s"`
		Local struct {
			Congestion string `json:"congestion_control"`
		}
	}
	if err := json.Unmarshal([]byte(b.String()), &doc); err != nil || doc.Rate != 35754.6 || doc.Local.Congestion != "bbr" || len(doc.UUID) != 36 {
		t.Errorf("%v: %+v of\n%s", err, doc, b.String())
	}
}

func TestInterval(t *testing.T) {
	// Mean 10, deviation 1, n 3: 2 * 4.303 / sqrt(3) = 4.969, which is 49.69 % of the mean.
	mean, width := interval(95, []float64{9, 10, 11})
	if mean != 10 || width < 49.68 || width > 49.70 {
		t.Errorf("mean %v, width %v", mean, width)
	}
	if _, width := interval(99, []float64{9, 10, 11}); width < 114.5 || width > 114.7 {
		t.Errorf("99 %%: width %v", width)
	}
	if _, width := interval(99, []float64{5}); width != -1 {
		t.Errorf("one value: width %v", width)
	}
}

func TestAverage(t *testing.T) {
	var runs []*Result
	for _, rate := range []float64{90, 100, 110} {
		runs = append(runs, &Result{spec: Test{Direction: Send, Protocol: unix.IPPROTO_TCP}, Throughput: rate, Local: End{CPU: unmeasured()}, Remote: End{CPU: unmeasured()}})
	}
	r := average(runs, &Repeat{Level: 95, Width: 60})
	if r.Throughput != 100 || !r.Confidence.Reached || r.Confidence.Iterations != 3 || len(r.Confidence.Throughputs) != 3 {
		t.Errorf("%+v, %+v", r, r.Confidence)
	}
	r = average(runs, &Repeat{Level: 95, Width: 10})
	o, _ := ParseOptions([]string{"-I", "95,10"})
	var b strings.Builder
	o.output(r).confidence(&b)
	if r.Confidence.Reached || !strings.Contains(b.String(), "!!! Confidence intervals: Throughput      : 49.687%") {
		t.Errorf("%+v\n%s", r.Confidence, b.String())
	}
	if banner := o.Banner(); !strings.Contains(banner, " : +/-5.000% @ 95% conf.  : demo") {
		t.Error(banner)
	}
	if average(runs[:1], &Repeat{}).Confidence != nil {
		t.Error("one run has a confidence")
	}
}

func TestStatParsing(t *testing.T) {
	before := parseStat("cpu  10 0 10 80 0 0 0 0 0 0\ncpu0 5 0 5 40 0 0 0 0\ncpu1 5 0 5 40 0 0 0 0\nintr 1\n")
	after := parseStat("cpu  60 0 35 165 10 5 5 0 0 0\ncpu0 50 0 30 55 0 0 0 0\ncpu1 10 0 5 110 10 5 5 0\nintr 1\n")
	u := after.since(before)
	if u.CPUs != 2 || u.User < 27.7 || u.User > 27.8 || u.Total < 47.2 || u.Total > 47.3 || u.PeakCPU != 0 || u.PeakUtil < 82 {
		t.Errorf("%+v", u)
	}
	if u := before.since(before); u.measured() {
		t.Errorf("no time passed: %+v", u)
	}
	if u := after.since(nil); u.measured() || u.demand(1) != -1 {
		t.Errorf("no first sample: %+v", u)
	}
}
