package site

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// withHostctl puts a hostctl in front of PATH: a script that is told its arguments.
func withHostctl(b *bench, script string) {
	dir := b.t.TempDir()
	b.put(dir, "hostctl", "#!/bin/sh\n"+script)
	if err := os.Chmod(filepath.Join(dir, "hostctl"), 0o755); err != nil {
		b.t.Fatal(err)
	}
	b.t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

// leaveResults does what hostctl does with its last argument.
const leaveResults = `for dir; do :; done; mkdir -p "$dir"; echo "$*" >"$dir/run.json"; echo PASS vnic.x; `

func TestRun(t *testing.T) {
	for _, tc := range []struct {
		name, kernel, autorun string // kernel is picolab.run, autorun "-" none
		script                string
		argv                  string // "" nothing runs
		told                  []string
	}{
		{"nothing asked for", "", "-", "exit 9", "", nil},
		{"the stick asks", "", "cases: [vnic.x]\n", leaveResults, "run vnic.x -o ", []string{"autorun: hostctl run vnic.x -o ", "all is well (exit code 0)", "written to the stick as /picolab/results/001"}},
		{"the kernel asks", "quick", "-", leaveResults, "run --profile quick -o ", []string{"written to the stick"}},
		{"both ask", "quick", "cases: [vnic.x]\n", leaveResults, "run vnic.x --profile quick -o ", nil},
		{"the kernel refuses", "off", "cases: [vnic.x]\n", "exit 9", "", nil},
		{"no such argument", "slow", "cases: [vnic.x]\n", "exit 9", "", []string{"picolab.run=slow: it can be quick, full or off"}},
		{"a failure", "quick", "-", leaveResults + "exit 1", "run --profile", []string{"something under test failed (exit code 1)", "written to the stick"}},
		{"no results", "quick", "-", "echo broken >&2; exit 3", "", []string{"the laboratory failed (exit code 3)", "the run left none"}},
		{"a crash", "quick", "-", leaveResults + "kill -SEGV $$", "run --profile", []string{"ended by signal segmentation fault", "written to the stick"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			files := map[string]string{}
			if tc.autorun != "-" {
				files["picolab/site/autorun"] = tc.autorun
			}
			b := newBench(t, files)
			b.o.Run = tc.kernel
			withHostctl(b, tc.script)
			Open(b.o).run(t.Context())
			data, _ := os.ReadFile(filepath.Join(b.stick, Results, "001/run.json")) // not there when nothing runs
			if (tc.argv == "") != (len(data) == 0) || !strings.HasPrefix(string(data), tc.argv) {
				t.Errorf("ran with %q, want %q", data, tc.argv)
			}
			for _, want := range tc.told {
				if !strings.Contains(b.logged(), want) {
					t.Errorf("not told: %q, but\n%s", want, b.logged())
				}
			}
			if strings.Contains(tc.script, "PASS") != strings.Contains(b.show.String(), "PASS vnic.x\n") {
				t.Errorf("console: %q", b.show.String())
			}
		})
	}
}

func TestRunWithoutStick(t *testing.T) {
	b := newBench(t, nil)
	b.o.Stick, b.o.Run = "", "quick"
	withHostctl(b, leaveResults)
	Open(b.o).run(t.Context())
	if !strings.Contains(b.logged(), "run/picolab/results/001, in RAM: this machine was not started from a stick") {
		t.Errorf("told: %s", b.logged())
	}
}

func TestRunStickFull(t *testing.T) {
	b := newBench(t, map[string]string{"picolab/results": "a file where the folder should be"})
	b.o.Run = "quick"
	withHostctl(b, leaveResults)
	Open(b.o).run(t.Context())
	if !strings.Contains(b.logged(), "not on the stick: save results as") || !strings.Contains(b.logged(), "they stay in") {
		t.Errorf("told: %s", b.logged())
	}
}

func TestThenPowerOff(t *testing.T) {
	b := newBench(t, map[string]string{"picolab/site/autorun": "then: poweroff\n"})
	var asked string
	b.o.Power = func(_ context.Context, action string) error { asked = action; return nil }
	withHostctl(b, leaveResults)
	Open(b.o).run(t.Context())
	if asked != "off" {
		t.Errorf("power %q", asked)
	}
}

// TestRunEnds: the end of the agent ends a run and what it started.
func TestRunEnds(t *testing.T) {
	b := newBench(t, map[string]string{"picolab/site/autorun": ""})
	withHostctl(b, `trap 'echo ended; exit 130' TERM; echo begun; while :; do sleep 0.1; done`)
	ctx, cancel := context.WithCancel(t.Context())
	b.o.Console = writer(func(p []byte) {
		b.show.Write(p)
		if strings.Contains(string(p), "begun") {
			cancel()
		}
	})
	done := make(chan struct{})
	go func() { defer close(done); Open(b.o).run(ctx) }()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatal("the run goes on")
	}
	if !strings.Contains(b.show.String(), "ended") || !strings.Contains(b.logged(), "interrupted (exit code 130)") {
		t.Errorf("console %q, told %q", b.show.String(), b.logged())
	}
}

type writer func([]byte)

func (w writer) Write(p []byte) (int, error) { w(p); return len(p), nil }
