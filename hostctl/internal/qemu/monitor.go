package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// Event is an asynchronous QMP message.
type Event struct {
	Name string
	Data map[string]any
	Time time.Time // QEMU's clock
}

// Monitor is a QMP connection. Its methods may be called from any goroutine.
type Monitor interface {
	// Run executes a command. args is marshalled as its arguments (nil: none); out, when not nil, receives "return".
	// A refusal by QEMU is *Error; a lost connection is ErrClosed. When ctx ends first, the command may still run.
	Run(ctx context.Context, cmd string, args, out any) error
	// Events delivers every event from now on; the channel is closed when ctx ends or the connection is lost.
	Events(ctx context.Context) <-chan Event
	// WaitEvent returns the oldest event since the connection was made with this name for which match (nil: any) says
	// yes and which no WaitEvent has returned yet, or waits for it. So it may be called after the command causing it.
	WaitEvent(ctx context.Context, name string, match func(Event) bool) (Event, error)
	// Version is QEMU's own, from its greeting.
	Version() Version
	// Close ends the connection; QEMU goes on.
	Close() error
}

// ErrClosed is the error of a command or wait on a connection that is or gets lost: QEMU ended, or Close was called.
var ErrClosed = errors.New("qmp connection closed")

// Classes of QMP errors (QEMU's qapi/error.json).
const (
	GenericError    = "GenericError"
	CommandNotFound = "CommandNotFound"
	DeviceNotActive = "DeviceNotActive"
	DeviceNotFound  = "DeviceNotFound"
)

// Error is QEMU's refusal of a command.
type Error struct {
	Command string
	Class   string // one of the constants above
	Desc    string // for people; differs between versions
}

func (e *Error) Error() string { return fmt.Sprintf("qmp %s: %s: %s", e.Command, e.Class, e.Desc) }

// IsClass says whether err is a refusal by QEMU of this class.
func IsClass(err error, class string) bool {
	var e *Error
	return errors.As(err, &e) && e.Class == class
}

// ConnectOptions of a Monitor.
type ConnectOptions struct {
	Log io.Writer // every message, one a line: seconds since the connection, "->" to QEMU or "<-" from it, JSON
}

// Connect dials a QMP socket and negotiates. While nobody listens yet it tries again until ctx ends.
func Connect(ctx context.Context, socket string, o ConnectOptions) (Monitor, error) {
	c, err := dial(ctx, socket)
	if err != nil {
		return nil, fmt.Errorf("connect to qmp: %w", err)
	}
	s := newSession(c, o.Log)
	if err := s.negotiate(ctx); err != nil {
		s.Close()
		return nil, fmt.Errorf("connect to qmp: %w", err)
	}
	return s, nil
}
