package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"picolab/guestagent/wire"
	"picolab/hostctl/internal/labs"
	"picolab/hostctl/lab"
)

// Exit codes; see Main.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitInfra       = 3
	exitInterrupted = 130
)

// An exitError asks for an exit code. An empty text prints nothing.
type exitError struct {
	code int
	err  error // may be nil
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// usage makes an error of the user's making.
func usage(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

// exitCode judges by the error's type.
func exitCode(ctx context.Context, err error) int {
	var exit *exitError
	var spec *lab.SpecError
	var guest *lab.GuestError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.code
	case ctx.Err() != nil:
		return exitInterrupted
	case errors.As(err, &spec), errors.Is(err, labs.ErrRunning), errors.Is(err, labs.ErrUnknown), errors.Is(err, labs.ErrNoGuest), strings.HasPrefix(err.Error(), "unknown command"):
		return exitUsage
	case errors.As(err, &guest), wire.CodeOf(err) == wire.Code_GUEST, wire.CodeOf(err) == wire.Code_NOT_FOUND:
		return exitFailed
	}
	return exitInfra
}
