package lab

import (
	"errors"
	"fmt"
	"strings"

	"picolab/hostctl/internal/oops"
)

// A GuestError is the guest's fault: it booted badly, crashed, or did not answer, while everything around it worked.
type GuestError struct {
	Guest    string
	Err      error
	Findings []oops.Finding // what the console and QMP told, oldest first
	Console  []string       // the console's last lines
}

func (e *GuestError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "guest %s: %v", e.Guest, e.Err)
	for _, f := range e.Findings {
		fmt.Fprintf(&b, "\n  finding: %s: %s", f.Kind, f.Text)
	}
	if len(e.Console) == 0 {
		b.WriteString("\n  console: no output")
	}
	for _, line := range e.Console {
		fmt.Fprintf(&b, "\n  console: %s", line)
	}
	return b.String()
}

func (e *GuestError) Unwrap() error { return e.Err }

// An InfraError is ours or this machine's fault: QEMU, the image files, a tap or a socket failed. No verdict about the
// guest may be drawn from it.
type InfraError struct{ Err error }

func (e *InfraError) Error() string { return e.Err.Error() }
func (e *InfraError) Unwrap() error { return e.Err }

// A SpecError lists everything that is wrong with a Spec. Problems name the field they are about.
type SpecError struct{ Problems []string }

func (e *SpecError) Error() string { return "bad spec: " + strings.Join(e.Problems, "; ") }

// infra wraps err as ours, unless a class was given already.
func infra(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	var g *GuestError
	var i *InfraError
	var s *SpecError
	if errors.As(err, &g) || errors.As(err, &i) || errors.As(err, &s) {
		return err
	}
	return &InfraError{Err: err}
}
