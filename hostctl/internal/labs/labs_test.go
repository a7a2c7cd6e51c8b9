package labs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"picolab/hostctl/internal/flock"
	"picolab/hostctl/lab"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newStore(t *testing.T) *Store {
	t.Helper()
	// As long as paths get: the control socket must be reached all the same.
	s, err := Open(filepath.Join(t.TempDir(), strings.Repeat("deep", 20), strings.Repeat("er", 20)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// pretend makes a lab's folder whose lock is held, as a living lab's is.
func pretend(t *testing.T, s *Store, name string) folder {
	t.Helper()
	f := s.folder(name)
	if err := os.MkdirAll(string(f), 0o700); err != nil {
		t.Fatal(err)
	}
	lock, err := flock.Try(f.path("lab.lock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lock.Release() })
	return f
}

func TestUpRefusesTakenNames(t *testing.T) {
	s := newStore(t)
	pretend(t, s, "x")
	if _, err := s.Up(t.Context(), UpOptions{Spec: lab.Spec{Name: "x"}}); !errors.Is(err, ErrRunning) {
		t.Errorf("while running: %v", err)
	}
	claim, err := s.claim("y")
	if err != nil {
		t.Fatal(err)
	}
	defer claim.Release()
	if _, err := s.Up(t.Context(), UpOptions{Spec: lab.Spec{Name: "y"}}); !errors.Is(err, ErrRunning) {
		t.Errorf("while being started: %v", err)
	}
}

func TestUpRefusesBadSpecs(t *testing.T) {
	var spec *lab.SpecError
	if _, err := newStore(t).Up(t.Context(), UpOptions{Spec: lab.Spec{Name: "../x"}}); !errors.As(err, &spec) {
		t.Errorf("got %v", err)
	}
}

func TestSweep(t *testing.T) {
	s := newStore(t)
	pretend(t, s, "alive")
	if err := os.MkdirAll(s.folder("dead").path("out"), 0o700); err != nil {
		t.Fatal(err)
	}
	busy, err := s.claim("busy")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Release()
	os.MkdirAll(string(s.folder("busy")), 0o700)
	stale, err := s.claim("stale")
	if err != nil {
		t.Fatal(err)
	}
	stale.Release()
	for i, want := range [][]string{{"dead"}, {}} {
		got, err := s.Sweep()
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("sweep %d: %q, %v, want %q", i, got, err, want)
		}
	}
	if names, _ := s.Names(); !slices.Equal(names, []string{"alive", "busy"}) {
		t.Errorf("left: %q", names)
	}
	if _, err := os.Stat(filepath.Join(s.dir, "stale.up")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("claim of no lab: %v", err)
	}
}

func TestListPhases(t *testing.T) {
	s := newStore(t)
	pretend(t, s, "starting")
	os.MkdirAll(string(s.folder("dead")), 0o700)
	all, err := s.List(t.Context())
	if err != nil || len(all) != 2 || all[0].Phase != Dead || all[1].Phase != Starting {
		t.Errorf("%+v, %v", all, err)
	}
}

// TestRequests speaks to the control socket of a keeper with a lab that has no guests.
func TestRequests(t *testing.T) {
	s := newStore(t)
	f := pretend(t, s, "x")
	dir, err := os.Open(string(f))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	k := &keeper{lab: &lab.Lab{}, down: make(chan struct{}), gone: make(chan struct{}), signal: func() {}}
	listener, err := net.Listen("unix", filepath.Join("/proc/self/fd", strconv.Itoa(int(dir.Fd())), "control.sock"))
	if err != nil {
		t.Fatal(err)
	}
	k.conns.Go(func() { k.accept(t.Context(), listener) })
	defer func() {
		listener.Close()
		k.bye()
	}()
	for _, request := range []string{"AGENT a", "CONSOLE a"} {
		if _, _, err := f.dial(t.Context(), request); !errors.Is(err, ErrNoGuest) {
			t.Errorf("%s: %v", request, err)
		}
	}
	if _, _, err := f.dial(t.Context(), "DANCE"); err == nil || !strings.Contains(err.Error(), `unknown request "DANCE"`) {
		t.Errorf("unknown request: %v", err)
	}
	if _, _, err := f.dial(t.Context(), strings.Repeat("x", 2*maxRequest)); err == nil {
		t.Error("a long request was taken")
	}
	conn, _, err := f.dial(t.Context(), "STATE")
	if err != nil {
		t.Fatal(err)
	}
	data, _ := io.ReadAll(conn)
	conn.Close()
	if !bytes.HasPrefix(data, []byte(`{"name":""`)) {
		t.Errorf("state %s", data)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.Watch(ctx, "x") // ends with ctx
}

func TestResultsKeepTheirClass(t *testing.T) {
	var spec *lab.SpecError
	var guest *lab.GuestError
	var infra *lab.InfraError
	for _, tt := range []struct {
		err    error
		target any
	}{
		{&lab.SpecError{Problems: []string{"a: b"}}, &spec},
		{&lab.GuestError{Guest: "a", Err: errors.New("mute")}, &guest},
		{&lab.InfraError{Err: errors.New("no tap")}, &infra},
		{errors.New("whatever"), &infra},
	} {
		back := result{Class: classOf(tt.err), Error: tt.err.Error()}.err()
		if !errors.As(back, tt.target) || !strings.Contains(back.Error(), tt.err.Error()) {
			t.Errorf("%v came out as %T %v", tt.err, back, back)
		}
	}
	if err := (result{}).err(); err != nil {
		t.Errorf("no error became %v", err)
	}
}

func TestProcess(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Skip("sleep(1) not installed")
	}
	p, err := processOf(cmd.Process.Pid)
	if err != nil || !p.same() {
		t.Errorf("%+v, %v", p, err)
	}
	if reused := (process{p.Pid, p.Start - 1}); reused.same() {
		t.Error("another process with the same id is taken for it")
	}
	cmd.Process.Kill()
	if err := p.gone(t.Context()); err != nil { // a zombie until Wait
		t.Error(err)
	}
	cmd.Wait()
}

func TestReaderGone(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if readerGone(ctx, w) {
		t.Error("gone while it reads")
	}
	r.Close()
	if !readerGone(t.Context(), w) {
		t.Error("not gone")
	}
}
