// Package stream is a port of a vale.Switch for QEMU's -netdev stream (and dgram's older brother, -netdev socket): Ethernet
// frames on a unix stream socket, each behind its length in four bytes, big-endian. It takes the NIC models that have no
// vhost-user, such as e1000, rtl8139, igb and vmxnet3, into the switch.
//
//	-netdev stream,id=n,server=off,addr.type=unix,addr.path=PATH -device e1000,netdev=n
//
// QEMU puts no header of virtio-net before the frames, so the switch completes checksums and segments for this port.
//
// Source: QEMU net/stream.c and net/net.c (net_fill_rstate).
package stream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"picolab/hostctl/vale"
)

const (
	prefix  = 4
	longest = 4096 + 65536 // NET_BUFSIZE; QEMU drops the connection over more, and so do we
	inRoom  = 4 * longest
	outRoom = 4 * longest // what the peer may be behind
	patient = 16          // rounds, at most, that a quiet connection is not looked at while the switch is busy
)

// Options change a port. The zero value is good.
type Options struct {
	Client bool          // connect, again and again, instead of listening
	Retry  time.Duration // between attempts; 0 means 100 ms
}

// New returns a port on the unix socket path, which exists on return unless the port is a client. One peer at a time is
// served; it may go and come back.
func New(path string, opt Options) (vale.Port, error) {
	if opt.Retry == 0 {
		opt.Retry = 100 * time.Millisecond
	}
	p := &port{path: path, opt: opt, listener: -1, fd: -1, in: make([]byte, inRoom), out: make([]byte, 0, outRoom)}
	if opt.Client {
		return p, nil
	}
	var err error
	p.listener, err = listen(path)
	return p, err
}

type port struct {
	path     string
	opt      Options
	waker    vale.Waker
	listener int // -1 in a client
	fd       int // -1 while there is no peer

	in         []byte
	start, end int    // of what was read and not yet taken
	out        []byte // what could not be written yet
	drained    bool   // the last read emptied the socket
	quiet      int    // looks in vain in a row
	skip       int    // rounds left not to look
	dialed     time.Time
}

func (p *port) Start(w vale.Waker) error {
	p.waker = w
	if p.listener >= 0 {
		return w.Watch(p.listener, unix.EPOLLIN)
	}
	return nil
}

func (p *port) Close() error {
	p.hangUp()
	if p.listener < 0 {
		return nil
	}
	if p.waker != nil {
		p.waker.Unwatch(p.listener)
	}
	err := errors.Join(unix.Close(p.listener), unix.Unlink(p.path))
	p.listener = -1
	if err != nil {
		return fmt.Errorf("close %s: %w", p.path, err)
	}
	return nil
}

// hangUp ends the connection. A frame of which only a part was written or read is lost with it.
func (p *port) hangUp() {
	if p.fd >= 0 {
		p.waker.Unwatch(p.fd)
		_ = unix.Close(p.fd)
	}
	p.fd, p.start, p.end, p.out, p.drained = -1, 0, 0, p.out[:0], false
}

func (p *port) Receive(frames []vale.Frame) (int, error) {
	if p.skip > 0 {
		p.skip--
		return 0, nil
	}
	if p.fd < 0 && !p.connect() {
		p.look(0)
		return 0, nil
	}
	p.flush()
	n := p.parse(frames)
	if n == 0 && p.read() {
		n = p.parse(frames)
	}
	p.look(n)
	return n, nil
}

// look decides when to look again, after n frames came.
func (p *port) look(n int) {
	if n > 0 {
		p.quiet = 0
		return
	}
	p.quiet++
	p.skip = min(p.quiet/4, patient)
}

// read reads once and reports whether something came. What parse has given away is taken back.
func (p *port) read() bool {
	if p.fd < 0 {
		return false
	}
	p.end = copy(p.in, p.in[p.start:p.end])
	p.start = 0
	n, err := unix.Read(p.fd, p.in[p.end:])
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		p.drained = err == unix.EAGAIN
		return false
	case err != nil || n == 0:
		p.hangUp()
		return false
	}
	p.drained = p.end+n < len(p.in)
	p.end += n
	return true
}

// parse takes whole frames out of what was read.
func (p *port) parse(frames []vale.Frame) (n int) {
	for n < len(frames) && p.end-p.start >= prefix {
		size := int(binary.BigEndian.Uint32(p.in[p.start:]))
		if size == 0 || size > longest {
			p.hangUp()
			return n
		}
		at := p.start + prefix
		if p.end-at < size {
			break
		}
		frames[n] = vale.Frame{Data: p.in[at : at+size : at+size]}
		p.start = at + size
		n++
	}
	return n
}

func (p *port) Send(frames []vale.Frame) (n, bytes int) {
	if p.fd < 0 {
		return 0, 0
	}
	for i := range frames {
		b := frames[i].Data
		if len(p.out)+prefix+len(b) > cap(p.out) {
			if p.flush(); len(p.out)+prefix+len(b) > cap(p.out) {
				continue
			}
		}
		p.out = append(binary.BigEndian.AppendUint32(p.out, uint32(len(b))), b...)
		n, bytes = n+1, bytes+len(b)
	}
	p.flush()
	return n, bytes
}

// flush writes what it can.
func (p *port) flush() {
	if len(p.out) == 0 || p.fd < 0 {
		return
	}
	n, err := unix.SendmsgN(p.fd, p.out, nil, nil, unix.MSG_NOSIGNAL)
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
	case err != nil:
		p.hangUp()
	default:
		p.out = p.out[:copy(p.out, p.out[n:])]
	}
}

func (p *port) Offloads() vale.Offloads { return 0 }

func (p *port) Arm() (more bool) {
	p.skip, p.quiet = 0, 0
	if p.fd < 0 {
		return p.connect()
	}
	p.flush()
	return !p.drained
}
