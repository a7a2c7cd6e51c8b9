package qemu

import (
	"context"
	"errors"
	"io"
	"picolab/hostctl/internal/proc"
	"time"
)

var errNot = errors.New("not yet")

// Cmdline is the argument vector after the program's name. It is pure: same Config, same arguments.
func Cmdline(c Config) ([]string, error) { return nil, errNot }

// HotplugBus is the bus for device_add of the nth hot-plugged device (from 0).
func HotplugBus(c Config, n int) string { return "" }

// Event is an asynchronous QMP message.
type Event struct {
	Name string
	Data map[string]any
	Time time.Time
}

// Monitor is a QMP connection. Its methods may be called from any goroutine.
type Monitor interface {
	// Run executes a command. args is marshalled as its arguments (nil: none); out, when not nil, receives "return".
	// A refusal by QEMU is *Error; ErrClosed is a lost connection.
	Run(ctx context.Context, cmd string, args, out any) error
	// Events delivers every event from now on; the channel is closed when ctx ends or the connection is lost.
	Events(ctx context.Context) <-chan Event
	// WaitEvent returns the oldest event since the connection was made with this name for which match (nil: any) says
	// yes and which no WaitEvent has returned yet, or waits for it. So it may be called after the command causing it.
	WaitEvent(ctx context.Context, name string, match func(Event) bool) (Event, error)
	// Version is QEMU's own.
	Version() Version
	Close() error
}

// Error is QEMU's refusal of a command.
type Error struct{ Command, Class, Desc string }

func (e *Error) Error() string { return e.Desc }

// Classes of QAPI errors (qapi/error.json). Everything else is GenericError.
const (
	GenericError    = "GenericError"
	DeviceNotFound  = "DeviceNotFound"
	CommandNotFound = "CommandNotFound"
)

// ConnectOptions of a Monitor.
type ConnectOptions struct{ Log io.Writer }

// Connect dials a QMP socket and negotiates, trying again until ctx ends while nobody listens yet.
func Connect(ctx context.Context, socket string, o ConnectOptions) (Monitor, error) {
	return nil, errNot
}

// StartOptions say how to run QEMU.
type StartOptions struct {
	Deadline time.Duration // for QMP to answer; 0 means 30 s
	QMPLog   io.Writer
	Log      func(string)
	Env      []string
	Wrap     []string // command put in front ("chroot", dir)
}

// Machine is a running QEMU.
type Machine struct {
	Monitor Monitor
	Argv    []string
	p       *proc.Process
}

// Start runs QEMU and waits until QMP answers. A QEMU that ends before that is an error with what it wrote.
func Start(ctx context.Context, c Config, o StartOptions) (*Machine, error) { return nil, errNot }

// Wait waits for QEMU to end. Exit status 0 is no error.
func (m *Machine) Wait() error { return nil }

// Done is closed when QEMU has ended.
func (m *Machine) Done() <-chan struct{} { return nil }

// Pid is QEMU's.
func (m *Machine) Pid() int { return 0 }

// Stop asks QEMU to quit, kills it after the grace time, and closes the monitor.
func (m *Machine) Stop(grace time.Duration) {}

// Capabilities are what a binary can do.
type Capabilities struct {
	Version          Version
	VersionText      string
	Devices, Netdevs []string
}

func (c Capabilities) HasDevice(name string) bool { return false }
func (c Capabilities) HasNetdev(name string) bool { return false }

// Probe asks a binary (an argv prefix; empty: qemu-system-x86_64 of PATH) for its version, devices and back-ends.
func Probe(ctx context.Context, binary ...string) (Capabilities, error) {
	return Capabilities{}, errNot
}

// ProbeKVM boots a tiny guest under KVM and says whether it ran, with the evidence, within 5 s.
func ProbeKVM(ctx context.Context, binary ...string) (ok bool, evidence string) { return false, "" }
