package report

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// sample is one result of every verdict.
func sample() *Outcome {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	host := Host{Name: "pc", Kernel: "6.12", Accel: "tcg", QEMU: "10.0"}
	one := func(c, axes string, v Verdict, reason string, seconds float64, checks ...Check) Result {
		return Result{Case: c, Instance: c + axes, Result: v, Reason: reason, Seconds: seconds, Checks: checks,
			Host: host, Image: "abc", Profile: "quick", Started: at, Evidence: []string{"cases/x/lan.pcapng"}}
	}
	bad := Check{Name: "ping", Expected: "0% packet loss", Got: "40% packet loss", Evidence: "rtt 1ms"}
	o := &Outcome{Seconds: 12.5}
	o.Results = []Result{
		one("s.ping", "[nic=virtio]", Pass, "", 4, Check{Name: "ping", Expected: "0", Got: "0", OK: true}),
		one("s.ping", "[nic=e1000]", Fail, "ping: expected 0% packet loss, got 40% packet loss", 3, bad),
		one("s.boot", "", Error, "no QEMU\nsecond line", 0.5),
		one("s.skip", "", Skip, "needs root.tap: open /dev/net/tun: no such file", 0),
		one("s.xfail", "", XFail, "bug 1: x", 1),
		one("s.xpass", "", XPass, "passed although", 1),
		one("s.degraded", "", Degraded, "3% lost", 1),
	}
	o.Results[0].Boot = 2
	for _, r := range o.Results {
		o.Run.Planned = append(o.Run.Planned, r.Instance)
	}
	o.Run.Excluded = []Excluded{{Instance: "s.ping[nic=e1000,vhost=on]", Reason: "no vhost"}}
	return o
}

func TestExitCode(t *testing.T) {
	all := func(vs ...Verdict) *Outcome {
		o := &Outcome{}
		for i, v := range vs {
			id := string(rune('a' + i))
			o.Results = append(o.Results, Result{Instance: id, Result: v})
			o.Run.Planned = append(o.Run.Planned, id)
		}
		return o
	}
	with := func(o *Outcome, fn func(*Outcome)) *Outcome { fn(o); return o }
	lost := func(o *Outcome) { o.Run.Planned = append(o.Run.Planned, "lost") }
	tests := []struct {
		name string
		o    *Outcome
		want int
	}{
		{"all pass", all(Pass, Pass), ExitGreen},
		{"all skipped", all(Skip, Skip), ExitGreen},
		{"known defects and tolerances", all(Pass, XFail, Degraded, Skip), ExitGreen},
		{"a fail", all(Pass, Fail, Skip), ExitFail},
		{"a stale expectation", all(Pass, XPass), ExitFail},
		{"an error beside a fail", all(Fail, Error, Pass), ExitError},
		{"nothing planned", all(), ExitNothing},
		{"an instance lost", with(all(Pass), lost), ExitError},
		{"stopped after a fail", with(all(Fail), lost), ExitFail},
		{"interrupted", with(all(Pass), func(o *Outcome) { lost(o); o.Interrupted = true }), ExitInterrupted},
		{"a verdict nobody knows", all("MAYBE"), ExitError},
	}
	for _, tt := range tests {
		if got := tt.o.ExitCode(); got != tt.want {
			t.Errorf("%s: exit code %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestSeverityIsTotal(t *testing.T) {
	vs := Verdicts()
	for i, v := range vs {
		for j, w := range vs {
			if v.Worse(w) != (i > j) {
				t.Errorf("%s worse than %s: %v", v, w, v.Worse(w))
			}
		}
	}
}

// TestResultsFile shows that what is appended can be read back, that names are
// those the machines know, and that lists are never null.
func TestResultsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), ResultsFile)
	w, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	o := sample()
	o.Results[2].Checks, o.Results[2].Evidence = nil, nil
	for _, r := range o.Results {
		if err := w.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	o.Results[2].Checks, o.Results[2].Evidence = []Check{}, []string{}
	got, torn, err := ReadFile(path)
	if err != nil || torn {
		t.Fatalf("torn %v, %v", torn, err)
	}
	for i := range got {
		if got[i].Checks == nil || got[i].Evidence == nil {
			t.Errorf("%s: null list", got[i].Instance)
		}
		want := o.Results[i]
		if len(want.Checks) == 0 {
			want.Checks = []Check{}
		}
		if !reflect.DeepEqual(got[i], want) {
			t.Errorf("got %+v, want %+v", got[i], want)
		}
	}
	checkNames(t, path)
}

func checkNames(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := bytes.Cut(data, []byte("\n"))
	var fields map[string]any
	if err := json.Unmarshal(line, &fields); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"case", "instance", "result", "reason", "checks", "evidence", "host", "image", "seconds"} {
		if _, ok := fields[name]; !ok {
			t.Errorf("line has no %q", name)
		}
	}
}

// TestTorn cuts the file at every byte: whatever was whole is read, the rest is
// reported and never an error or a wrong result.
func TestTorn(t *testing.T) {
	var all []byte
	var ends []int
	for _, r := range sample().Results[:3] {
		line, err := encode(r)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, line...)
		ends = append(ends, len(all))
	}
	for cut := range len(all) + 1 {
		whole := 0
		for _, end := range ends {
			if end <= cut {
				whole++
			}
		}
		got, torn, err := Read(bytes.NewReader(all[:cut]))
		atEnd := cut == 0 || (whole > 0 && ends[whole-1] == cut)
		if err != nil || len(got) != whole || torn == atEnd {
			t.Fatalf("cut at %d: %d results of %d, torn %v, %v", cut, len(got), whole, torn, err)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"no JSON":         "hello\n",
		"another verdict": `{"case":"a","instance":"a","result":"OK"}` + "\n",
		"another type":    `{"case":1}` + "\n",
	} {
		if _, _, err := Read(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), "line 1") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAddRefuses(t *testing.T) {
	w, err := Create(filepath.Join(t.TempDir(), ResultsFile))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for name, r := range map[string]Result{
		"no name":             {Result: Pass},
		"no verdict":          {Case: "a", Instance: "a"},
		"FAIL without reason": {Case: "a", Instance: "a", Result: Fail},
		"negative time":       {Case: "a", Instance: "a", Result: Pass, Seconds: -1},
	} {
		if w.Add(r) == nil {
			t.Errorf("%s: added", name)
		}
	}
}

// TestWriteFile shows that a failure leaves the old file and no other.
func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	if err := WriteFile(path, []byte("old")); err != nil {
		t.Fatal(err)
	}
	if err := WriteJSON(path, func() {}); err == nil {
		t.Error("a function was encoded")
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(filepath.Join(dir, "folder"), []byte("new")); err == nil {
		t.Error("a folder was replaced")
	}
	data, err := os.ReadFile(path)
	entries, _ := os.ReadDir(dir)
	if err != nil || string(data) != "old" || len(entries) != 2 {
		t.Errorf("%q, %v, %d files", data, err, len(entries))
	}
}

const wantSummary = `ERROR    s.boot
         no QEMU
         second line
FAIL     s.ping[nic=e1000]
         ping: expected 0% packet loss, got 40% packet loss
           evidence: rtt 1ms
XPASS    s.xpass
         passed although
DEGRADED s.degraded
         3% lost
XFAIL    s.xfail
         bug 1: x
SKIP     needs root.tap: open /dev/net/tun: no such file
         s.skip
excluded s.ping, 1 combinations: no vhost

slowest:
      4.0s s.ping[nic=virtio] (2.0s of it booting)
      3.0s s.ping[nic=e1000]
      1.0s s.xfail
      1.0s s.xpass
      1.0s s.degraded

1 PASS, 1 FAIL, 1 ERROR, 1 SKIP, 1 XFAIL, 1 XPASS, 1 DEGRADED: 7 of 7 instances in 12.5s
`

func TestSummary(t *testing.T) {
	var b strings.Builder
	if err := Summary(&b, sample(), false); err != nil {
		t.Fatal(err)
	}
	if b.String() != wantSummary {
		t.Errorf("got:\n%s\nwant:\n%s", b.String(), wantSummary)
	}
}

// TestSummarySpeaksUp shows that an empty green run does not look like a full
// one.
func TestSummarySpeaksUp(t *testing.T) {
	skipped := &Outcome{Results: sample().Results[3:4]}
	skipped.Run.Planned = []string{"s.skip"}
	broken := &Outcome{}
	broken.Run.Planned = []string{"s.ping"}
	stopped := &Outcome{Interrupted: true}
	stopped.Run.Planned = []string{"s.ping", "s.boot"}
	for want, o := range map[string]*Outcome{
		"NOTHING RAN":                           {},
		"NOTHING WAS EXECUTED":                  skipped,
		"1 planned instances have no result":    broken,
		"INTERRUPTED: 2 instances were not run": stopped,
	} {
		var b strings.Builder
		if err := Summary(&b, o, false); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), want) {
			t.Errorf("summary does not say %q:\n%s", want, b.String())
		}
	}
}
