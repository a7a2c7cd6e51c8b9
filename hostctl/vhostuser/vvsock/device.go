package vvsock

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"picolab/hostctl/vhostuser"
	"picolab/hostctl/vhostuser/internal/unixsock"
	"picolab/hostctl/vhostuser/virtq"
)

// Limits of one device.
const (
	MaxConnections = 1024 // in any state; more from the guest are reset, more from the host wait
	MaxPending     = 64   // of these, host-initiated and not yet accepted by the guest; more wait
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

	errLimit = errors.New("too many vsock connections")
)

// Config describes a device.
type Config struct {
	GuestCID uint64 // the guest's context id, 3 to 2^32-2
	Socket   string // vhost-user socket: the device listens, QEMU connects
	UDS      string // unix socket for "CONNECT port"; guest-initiated connections to port P go to UDS_P; "" for none

	HandshakeTimeout time.Duration // for the CONNECT line to arrive; 0 means 10 s
	ConnectTimeout   time.Duration // for the guest to answer a connection request; 0 means 30 s

	Logf func(format string, args ...any) // may be nil
}

func (c *Config) setDefaults() {
	if c.HandshakeTimeout == 0 {
		c.HandshakeTimeout = 10 * time.Second
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = 30 * time.Second
	}
	if c.Logf == nil {
		c.Logf = func(string, ...any) {}
	}
}

// Stats are counters of a device since Listen.
type Stats struct {
	Connections int    // open now, in any state
	FromGuest   uint64 // bytes of payload
	ToGuest     uint64 // bytes of payload
	Dropped     uint64 // packets and buffers of the guest that made no sense
	Violations  uint64 // connections reset because the guest broke the rules
	Refused     uint64 // malformed CONNECT lines, and connections of the guest to ports without a socket
}

// Device is a virtio-vsock device for one guest.
type Device struct {
	cfg    Config
	server *vhostuser.Server
	loop   *loop
	listen int // the hybrid socket, or -1

	mu      sync.Mutex
	serving chan struct{} // closed when Serve has cleaned up; nil before Serve
	closed  bool
}

// Listen creates the device and its sockets; they exist when it returns, so QEMU may be started. Close must be called.
func Listen(cfg Config) (*Device, error) {
	if cfg.GuestCID < 3 || cfg.GuestCID > 0xfffffffe {
		return nil, fmt.Errorf("vsock guest cid %d: must be 3 to 4294967294", cfg.GuestCID)
	}
	cfg.setDefaults()
	d := &Device{cfg: cfg, listen: -1}
	if err := d.open(); err != nil {
		d.release()
		return nil, err
	}
	return d, nil
}

func (d *Device) open() (err error) {
	if d.cfg.UDS != "" {
		if d.listen, err = unixsock.Listen(d.cfg.UDS); err != nil {
			return err
		}
	}
	if d.loop, err = newLoop(&d.cfg, d.listen); err != nil {
		return err
	}
	d.server, err = vhostuser.Listen(d.cfg.Socket, (*backend)(d), vhostuser.Options{Logf: d.cfg.Logf})
	return err
}

// release closes what open made. Nothing runs any more.
func (d *Device) release() {
	if d.server != nil {
		_ = d.server.Close()
	}
	if d.loop != nil {
		d.loop.release()
	}
	if d.listen >= 0 {
		_ = unix.Close(d.listen)
		_ = os.Remove(d.cfg.UDS)
		d.listen = -1
	}
}

// Serve runs the device until ctx ends or Close is called, and then returns nil. It survives a front-end that
// disconnects and returns; the guest's connections end with each disconnect. It may be called once.
func (d *Device) Serve(ctx context.Context) error {
	done := make(chan struct{})
	d.mu.Lock()
	if d.closed || d.serving != nil {
		d.mu.Unlock()
		return ErrClosed
	}
	d.serving = done
	d.loop.start()
	d.mu.Unlock()
	defer close(done)

	var wg sync.WaitGroup
	wg.Go(d.loop.run)
	err := d.server.Serve(ctx)
	d.loop.shutdown()
	wg.Wait()
	d.release()
	return err
}

// Close ends Serve and waits for it, removes the sockets and closes every connection.
func (d *Device) Close() error {
	d.mu.Lock()
	serving, first := d.serving, !d.closed
	d.closed = true
	d.mu.Unlock()
	switch {
	case serving != nil:
		_ = d.server.Close()
		<-serving
	case first:
		d.release()
	}
	return nil
}

// Dial opens a stream to a port of the guest. It fails at once with ErrNotReady while no guest driver runs and with
// ErrRefused where nothing listens. That it succeeds does not prove that anybody answers at the other end.
func (d *Device) Dial(ctx context.Context, port uint32) (net.Conn, error) {
	c, err := d.loop.dial(ctx, port)
	if err != nil {
		return nil, fmt.Errorf("dial vsock %d:%d: %w", d.cfg.GuestCID, port, err)
	}
	return c, nil
}

// Stats returns the device's counters.
func (d *Device) Stats() Stats {
	d.loop.mu.Lock()
	defer d.loop.mu.Unlock()
	s := d.loop.stats
	s.Connections = d.loop.used
	return s
}

// backend is the Device as the vhost-user server sees it.
type backend Device

func (b *backend) Queues() int      { return numRings }
func (b *backend) Features() uint64 { return virtq.FeaturePacked } // streams are the device's default

// ProtocolFeatures includes CONFIG, which QEMU requires of a socket device.
func (b *backend) ProtocolFeatures() uint64 {
	return vhostuser.ProtocolCommon | vhostuser.ProtocolConfig
}

func (b *backend) SetFeatures(uint64) error { return nil }

// Config is struct virtio_vsock_config: the guest's CID.
func (b *backend) Config() []byte { return binary.LittleEndian.AppendUint64(nil, b.cfg.GuestCID) }

func (b *backend) StartRing(r *vhostuser.Ring) error { return b.loop.startRing(r) }
func (b *backend) StopRing(r *vhostuser.Ring)        { b.loop.stopRing(r) }
func (b *backend) Disconnected()                     {}
