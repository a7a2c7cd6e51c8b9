package verbs_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"picolab/guestagent/client"
	"picolab/guestagent/load/transfer"
	"picolab/guestagent/wire"
)

func TestExec(t *testing.T) {
	c := local(t)
	for _, tt := range []struct {
		argv           []string
		stdout, stderr string
		code           int
	}{
		{[]string{"echo", "a  b"}, "a  b\n", "", 0},
		{[]string{"sh", "-c", "echo out; echo err >&2; exit 3"}, "out\n", "err\n", 3},
		{[]string{"sh", "-c", "kill -9 $$"}, "", "", 137},
		{[]string{"cat"}, "", "", 0}, // standard input is empty
	} {
		out, err := c.Run(t.Context(), tt.argv...)
		must(t, err)
		if string(out.Stdout) != tt.stdout || string(out.Stderr) != tt.stderr || out.ExitCode != tt.code || out.Truncated || out.TimedOut {
			t.Errorf("%q: %+v", tt.argv, out)
		}
	}
}

func TestExecEnvironment(t *testing.T) {
	c := local(t)
	dir := t.TempDir()
	out, err := c.RunWith(t.Context(), client.ExecOptions{Argv: []string{"sh", "-c", "pwd; echo $X"}, Dir: dir, Env: []string{"X=y"}})
	must(t, err)
	if want := dir + "\ny\n"; string(out.Stdout) != want {
		t.Errorf("got %q, want %q", out.Stdout, want)
	}
}

func TestExecErrors(t *testing.T) {
	c := local(t)
	for _, tt := range []struct {
		o    client.ExecOptions
		code wire.Code
	}{
		{client.ExecOptions{}, wire.Code_INVALID},
		{client.ExecOptions{Argv: []string{"no-such-command"}}, wire.Code_NOT_FOUND},
		{client.ExecOptions{Argv: []string{"/etc/passwd"}}, wire.Code_NOT_FOUND},
		{client.ExecOptions{Argv: []string{"true"}, Dir: "/no/such/folder"}, wire.Code_NOT_FOUND},
		{client.ExecOptions{Argv: []string{"echo", "a\x00b"}}, wire.Code_INVALID},
		{client.ExecOptions{Argv: []string{"echo", strings.Repeat("x", wire.MaxArgs)}}, wire.Code_TOO_BIG},
	} {
		_, err := c.RunWith(t.Context(), tt.o)
		if wire.CodeOf(err) != tt.code {
			t.Errorf("%.40q: %v (%v), want %v", tt.o.Argv, err, wire.CodeOf(err), tt.code)
		}
	}
}

// TestExecStream sends more than the window through a command in both directions.
func TestExecStream(t *testing.T) {
	c := local(t)
	const n = 8 << 20
	want, got := sha256.New(), sha256.New()
	in := io.TeeReader(io.LimitReader(transfer.Content(1), n), want)
	code, err := c.Exec(t.Context(), client.ExecOptions{Argv: []string{"cat"}, Stdin: in, Stdout: got})
	must(t, err)
	if code != 0 || !bytes.Equal(want.Sum(nil), got.Sum(nil)) {
		t.Errorf("code %d, sums differ", code)
	}
}

func TestExecInputNotRead(t *testing.T) {
	c := local(t)
	code, err := c.Exec(t.Context(), client.ExecOptions{Argv: []string{"true"}, Stdin: io.LimitReader(transfer.Content(1), 4<<20)})
	if err != nil || code != 0 {
		t.Errorf("code %d, %v", code, err)
	}
}

// answers fails unless the agent answers within a second.
func answers(t *testing.T, c *client.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := c.Ping(ctx); err != nil {
		t.Error("agent does not answer:", err)
	}
}

// during calls f again and again while run runs.
func during(run, f func()) {
	done := make(chan struct{})
	go func() { defer close(done); run() }()
	for {
		select {
		case <-done:
			return
		case <-time.After(100 * time.Millisecond):
			f()
		}
	}
}

func TestExecOutputIsBounded(t *testing.T) {
	c := local(t)
	during(func() { // 10 GiB
		out, err := c.RunWith(t.Context(), client.ExecOptions{Argv: []string{"sh", "-c", "head -c 10737418240 /dev/zero"}, Limit: 1 << 20, Timeout: 2 * time.Second})
		if err != nil || len(out.Stdout) != 1<<20 || !out.Truncated {
			t.Errorf("%d bytes, truncated %v, %v", len(out.Stdout), out.Truncated, err)
		}
	}, func() { answers(t, c) })
}

func TestExecDeadline(t *testing.T) {
	c := local(t)
	for name, tt := range map[string]struct {
		script string
		code   int
		min    time.Duration
	}{
		"ends on SIGTERM":  {"sleep 1000", 128 + 15, 300 * time.Millisecond},
		"ignores SIGTERM":  {"trap '' TERM; while :; do sleep 0.1; done", 128 + 9, 300*time.Millisecond + wire.KillGrace},
		"reacts to it":     {"trap 'echo bye; exit 5' TERM; while :; do sleep 0.05; done", 5, 300 * time.Millisecond},
		"stopped children": {"sleep 1000 & kill -STOP $!; wait", 128 + 15, 300 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			out, err := c.RunWith(t.Context(), client.ExecOptions{Argv: []string{"sh", "-c", tt.script}, Timeout: 300 * time.Millisecond})
			took := time.Since(start)
			if err != nil || out.ExitCode != tt.code || !out.TimedOut || took < tt.min {
				t.Errorf("code %d, timed out %v, %v, %v", out.ExitCode, out.TimedOut, err, took)
			}
			answers(t, c)
		})
	}
}

func TestExecForkBomb(t *testing.T) {
	c := local(t)
	// doubles every 30 ms at most: the machine is not ours alone
	bomb := "echo $$; f() { sleep 0.03; f & f & wait; }; f; sleep 1000"
	var out client.Output
	during(func() {
		var err error
		out, err = c.RunWith(t.Context(), client.ExecOptions{Argv: []string{"sh", "-c", bomb}, Timeout: 300 * time.Millisecond})
		if err != nil || !out.TimedOut && out.ExitCode == 0 {
			t.Errorf("%+v, %v", out, err)
		}
	}, func() { answers(t, c) })
	first, _, _ := strings.Cut(string(out.Stdout), "\n")
	group, err := strconv.Atoi(first)
	must(t, err)
	groupIsGone(t, group)
	answers(t, c)
}

// groupOf starts a command with a background child and returns their process group when both run.
func groupOf(t *testing.T, run func(script string) error) (pid int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "pid")
	must(t, run(fmt.Sprintf("sleep 1000 & echo $$ >%s.tmp; mv %s.tmp %s; wait", file, file, file)))
	for range 500 {
		if b, err := os.ReadFile(file); err == nil {
			pid, err = strconv.Atoi(strings.TrimSpace(string(b)))
			must(t, err)
			return pid
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("command did not start")
	return 0
}

// groupIsGone waits until no process of a group runs. Dead ones that nobody has collected yet do not count: whose
// children they have become is not our choice.
func groupIsGone(t *testing.T, pgrp int) {
	t.Helper()
	for range 2000 {
		if !running(t, pgrp) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("process group %d lives on", pgrp)
}

func running(t *testing.T, pgrp int) bool {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	must(t, err)
	for _, name := range stats {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // gone meanwhile
		}
		_, rest, _ := strings.Cut(string(b), ") ") // state ppid pgrp ...
		f := strings.Fields(rest)
		if len(f) > 2 && f[2] == strconv.Itoa(pgrp) && f[0] != "Z" && f[0] != "X" {
			return true
		}
	}
	return false
}

func TestExecEndsWithItsContext(t *testing.T) {
	c := local(t)
	ctx, cancel := context.WithCancel(t.Context())
	errs := make(chan error, 1)
	pid := groupOf(t, func(script string) error {
		go func() { _, err := c.Run(ctx, "sh", "-c", script); errs <- err }()
		return nil
	})
	cancel()
	if err := <-errs; !errors.Is(err, context.Canceled) && err == nil {
		t.Errorf("error %v", err)
	}
	groupIsGone(t, pid)
	answers(t, c)
}

func TestExecEndsWithItsConnection(t *testing.T) {
	c := local(t)
	errs := make(chan error, 1)
	pid := groupOf(t, func(script string) error {
		go func() { _, err := c.Run(context.Background(), "sh", "-c", script); errs <- err }()
		return nil
	})
	must(t, c.Close())
	if err := <-errs; wire.CodeOf(err) != wire.Code_LOST {
		t.Errorf("error %v (%v)", err, wire.CodeOf(err))
	}
	groupIsGone(t, pid)
}

func TestExecLeavesNoBackgroundProcess(t *testing.T) {
	c := local(t)
	out, err := c.Run(t.Context(), "sh", "-c", "sleep 1000 & echo $$")
	must(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(out.Stdout)))
	must(t, err)
	groupIsGone(t, pid)
}
