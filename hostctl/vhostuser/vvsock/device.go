package vvsock

import (
	"context"
	"errors"
	"net"
	"time"
)

// Limits of one device.
const (
	MaxConnections = 1024 // connections in any state
	MaxPending     = 64   // of these, host-initiated and not yet accepted by the guest
)

// HostCID is the context id by which every guest knows its host.
const HostCID = 2

var (
	// ErrNotReady means that no guest driver is running: QEMU is not connected, or the guest has not booted so far.
	ErrNotReady = errors.New("vsock device has no running guest driver")
	// ErrRefused means that the guest answered with a reset: nothing listens on that port.
	ErrRefused = errors.New("vsock connection refused by the guest")
	// ErrClosed means that the device was closed.
	ErrClosed = errors.New("vsock device closed")
	// ErrLimit means that MaxConnections or MaxPending is reached.
	ErrLimit = errors.New("too many vsock connections")
)

// Config describes a device.
type Config struct {
	GuestCID uint64 // the guest's context id, 3 or greater
	Socket   string // vhost-user socket: the device listens, QEMU connects
	UDS      string // unix socket for "CONNECT port"; guest-initiated connections to port P go to UDS_P; "" for none

	HandshakeTimeout time.Duration // for the CONNECT line to arrive; 0 means 10 s
	ConnectTimeout   time.Duration // for the guest to answer a connection request; 0 means 30 s

	Logf func(format string, args ...any) // may be nil
}

// Device is a virtio-vsock device for one guest.
type Device struct{ cfg Config }

// Listen creates the device and its sockets; they exist when it returns, so QEMU may be started.
func Listen(cfg Config) (*Device, error) { return &Device{cfg: cfg}, nil }

// Serve runs the device until ctx ends or Close is called, and then returns nil. It survives a front-end that
// disconnects and returns; the guest's connections end with each disconnect.
func (d *Device) Serve(ctx context.Context) error { return errors.ErrUnsupported }

// Close ends Serve, removes the sockets and closes every connection.
func (d *Device) Close() error { return nil }

// Dial opens a stream to a port of the guest. It fails at once with ErrNotReady while no guest driver runs and with
// ErrRefused where nothing listens. The connection supports deadlines and CloseWrite.
func (d *Device) Dial(ctx context.Context, port uint32) (net.Conn, error) { return nil, ErrNotReady }
