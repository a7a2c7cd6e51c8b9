package labs

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"picolab/hostctl/internal/flock"
	"picolab/hostctl/internal/follow"
	"picolab/hostctl/internal/place"
	"picolab/hostctl/internal/sandbox"
	"picolab/hostctl/lab"
)

// UpOptions describe a lab to start.
type UpOptions struct {
	Spec     lab.Spec
	Place    place.Place
	Out      string    // folder for evidence; default: in the lab's own folder, gone with it
	Progress io.Writer // told what is waited for; nil means silence
}

// payload is what the inside is told.
type payload struct {
	Spec lab.Spec `json:"spec"`
}

// What the sandbox shows of the lab's folder.
const insideState = "/run/lab/state"

// result is the inside's answer to Up, one line of JSON on its standard output.
type result struct {
	State State  `json:"state"`
	Class string `json:"class,omitempty"` // of the error: see classOf
	Error string `json:"error,omitempty"`
}

// Up starts the lab in a sandbox of its own and returns once every guest is up. When it fails or ctx ends, nothing stays
// behind. Errors are those of lab.Up, ErrRunning, and place.ErrNoHost.
func (s *Store) Up(ctx context.Context, o UpOptions) (State, error) {
	if err := o.Spec.Validate(); err != nil {
		return State{}, err
	}
	name := o.Spec.Name
	claim, err := s.claim(name)
	if errors.Is(err, flock.ErrHeld) {
		return State{}, fmt.Errorf("start lab %s: %w", name, ErrRunning)
	}
	if err != nil {
		return State{}, err
	}
	f := s.folder(name)
	if f.alive() {
		claim.Release()
		return State{}, fmt.Errorf("start lab %s: %w", name, ErrRunning)
	}
	state, err := f.start(ctx, o)
	if err != nil {
		os.RemoveAll(string(f))
		claim.Remove()
		return State{}, err
	}
	return state, claim.Release()
}

// start makes the folder and the sandbox, and waits for the inside's answer.
func (f folder) start(ctx context.Context, o UpOptions) (State, error) {
	if err := os.RemoveAll(string(f)); err != nil { // a dead lab's
		return State{}, fmt.Errorf("remove dead lab: %w", err)
	}
	if err := f.makeFolders(o.Out); err != nil {
		return State{}, fmt.Errorf("make lab folder: %w", err)
	}
	log, err := os.OpenFile(f.path("lab.log"), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return State{}, fmt.Errorf("make lab log: %w", err)
	}
	defer log.Close()
	answer, stdout, err := os.Pipe()
	if err != nil {
		return State{}, fmt.Errorf("start lab: %w", err)
	}
	defer answer.Close()
	defer stdout.Close()
	spec, err := o.Place.Sandbox(entryName, payload{Spec: o.Spec},
		sandbox.Bind{Source: string(f), Target: insideState}, sandbox.Bind{Source: f.path("out"), Target: place.InsideOut})
	if err != nil {
		return State{}, err
	}
	spec.Hostname, spec.Stdout, spec.Stderr, spec.Detach = o.Spec.Name, stdout, log, true
	box, err := sandbox.Start(ctx, spec)
	if err != nil {
		return State{}, &lab.InfraError{Err: err}
	}
	stdout.Close() // the inside holds the other copies: their end is the answer's end
	state, err := f.await(ctx, box, answer, o.Progress)
	if err != nil {
		box.Kill()
		return State{}, err
	}
	return state, nil
}

// makeFolders makes the lab's folder and, in it or behind a link, the one for evidence.
func (f folder) makeFolders(out string) error {
	if out == "" {
		return os.MkdirAll(f.path("out"), 0o700)
	}
	out, err := filepath.Abs(out)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	if err := os.MkdirAll(string(f), 0o700); err != nil {
		return err
	}
	return os.Symlink(out, f.path("out"))
}

// await shows progress until the inside answers, ends, or ctx does.
func (f folder) await(ctx context.Context, box *sandbox.Sandbox, answer *os.File, progress io.Writer) (State, error) {
	p, err := processOf(box.Pid())
	if err == nil {
		err = writeJSON(f.path("pid"), p)
	}
	if err != nil {
		return State{}, fmt.Errorf("record the lab's process: %w", err)
	}
	defer f.show(progress)()
	stop := context.AfterFunc(ctx, func() { answer.SetReadDeadline(time.Now()) })
	defer stop()
	line, err := bufio.NewReader(answer).ReadBytes('\n')
	if ctx.Err() != nil {
		return State{}, fmt.Errorf("start lab: %w", context.Cause(ctx))
	}
	if err != nil {
		return State{}, &lab.InfraError{Err: fmt.Errorf("the lab's process ended before it was up; %s", f.lastLog())}
	}
	var r result
	if err := json.Unmarshal(line, &r); err != nil {
		return State{}, fmt.Errorf("read the lab's answer: %w", err)
	}
	r.State.Pid = p.Pid
	return r.State, r.err()
}

// show copies the lab's log to w until the returned function is called.
func (f folder) show(w io.Writer) (stop func()) {
	if w == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		follow.Copy(ctx, f.path("lab.log"), w)
	}()
	return func() { cancel(); <-done }
}

// lastLog is the end of the lab's log, for an error message.
func (f folder) lastLog() string {
	data, err := os.ReadFile(f.path("lab.log"))
	if err != nil || len(data) == 0 {
		return "it said nothing"
	}
	return "it said:\n" + string(data[max(0, len(data)-4096):])
}

// Classes of errors on their way out of the sandbox.
const (
	classSpec  = "spec"
	classGuest = "guest"
	classInfra = "infrastructure"
)

func classOf(err error) string {
	var spec *lab.SpecError
	var guest *lab.GuestError
	switch {
	case errors.As(err, &spec):
		return classSpec
	case errors.As(err, &guest):
		return classGuest
	}
	return classInfra
}

// err rebuilds the error, class and text.
func (r result) err() error {
	switch {
	case r.Error == "":
		return nil
	case r.Class == classSpec:
		return &lab.SpecError{Problems: []string{r.Error}}
	case r.Class == classGuest:
		return &toldError{text: r.Error, class: &lab.GuestError{}}
	}
	return &lab.InfraError{Err: errors.New(r.Error)}
}

// A toldError has the text of an error from inside the sandbox and is found under its type.
type toldError struct {
	text  string
	class error
}

func (e *toldError) Error() string { return e.text }
func (e *toldError) Unwrap() error { return e.class }
