package proc

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
)

var errKilled = errors.New("killed on request")

// ExitError is a child that ended in any way but with exit status 0.
type ExitError struct {
	Name   string         // the program
	Code   int            // exit status; 128 + signal number when a signal ended it, as shells count
	Signal syscall.Signal // the signal that ended it, or 0
	Cause  error          // why hostctl ended it: the context's error, a deadline, Kill; nil when it ended by itself
	Stderr string         // the last lines of its standard error
}

func (e *ExitError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "run %s: ", e.Name)
	switch {
	case e.Cause != nil:
		fmt.Fprintf(&b, "%v", e.Cause)
	case e.Signal != 0:
		fmt.Fprintf(&b, "signal: %v", e.Signal)
	default:
		fmt.Fprintf(&b, "exit status %d", e.Code)
	}
	if e.Stderr != "" {
		fmt.Fprintf(&b, ": %s", e.Stderr)
	}
	return b.String()
}

func (e *ExitError) Unwrap() error { return e.Cause }

// failure makes the typed error of what os/exec reports. A child that exits with 0 after being told to stop is a success.
func (p *Process) failure(err, cause error) error {
	if err == nil {
		return nil
	}
	var x *exec.ExitError
	if !errors.As(err, &x) {
		// WaitDelay expired, or copying the output failed; the exit status itself was 0.
		if errors.Is(err, exec.ErrWaitDelay) {
			return nil
		}
		return fmt.Errorf("run %s: %w", p.name, err)
	}
	e := &ExitError{Name: p.name, Code: x.ExitCode(), Cause: cause, Stderr: p.stderr.String()}
	if ws, ok := x.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		e.Signal, e.Code = ws.Signal(), 128+int(ws.Signal())
	}
	return e
}
