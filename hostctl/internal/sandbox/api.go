package sandbox

import (
	"context"
	"errors"
)

// Main runs the stage this process was re-executed for and never returns; otherwise it returns at once.
func Main() {}

// Start starts the sandbox and returns once the entry function is about to run.
func Start(ctx context.Context, spec Spec) (*Sandbox, error) {
	return nil, errors.New("sandbox: not yet")
}

// Wait waits for the end and gives the entry's exit code; err is for failures of the sandbox itself.
func (s *Sandbox) Wait() (int, error) { return s.code, s.err }

// Kill ends everything inside at once.
func (s *Sandbox) Kill() {}
