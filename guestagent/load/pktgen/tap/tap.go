// Package tap is pktgen's port on the user's end of tap devices (Documentation/networking/tuntap): what it sends the
// host receives, and the other way round. A device that does not exist is made, brought up, and goes away with the port.
package tap

import (
	"context"
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"

	"picolab/guestagent/load/pktgen"
	"picolab/guestagent/load/pktgen/packet"
)

// Lengths in bytes, and frames at a time.
const (
	longest = 65536
	batch   = 256
)

// Port is a tap device.
type Port struct {
	link   *net.Interface
	queues []*queue
}

// Open opens a tap device, with a queue for each thread.
func Open(_ context.Context, name string, use pktgen.Use) (pktgen.Port, error) {
	p := &Port{}
	if use.Size == 0 {
		use.Size = longest
	}
	for range use.Queues {
		fd, err := Attach(name, use.Queues > 1)
		if err != nil {
			return nil, errors.Join(err, p.Close())
		}
		p.queues = append(p.queues, &queue{fd: fd, size: use.Size})
	}
	if err := p.start(name); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// Adopt makes a port of a descriptor that somebody else opened: one of a tap device, or a bound packet socket, which is
// written and read in the same way. Closing the port closes it.
func Adopt(fd int, size int) (*Port, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("descriptor %d: %w", fd, err)
	}
	return &Port{queues: []*queue{{fd: fd, size: size}}}, nil
}

// Attach opens the user's end of a device, which is made when there is none; many is for several queues. The descriptor
// does not block.
func Attach(name string, many bool) (int, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("open /dev/net/tun (module tun): %w", err)
	}
	request, err := unix.NewIfreq(name)
	if err == nil {
		flags := uint16(unix.IFF_TAP | unix.IFF_NO_PI)
		if many {
			flags |= unix.IFF_MULTI_QUEUE
		}
		request.SetUint16(flags)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		return -1, errors.Join(fmt.Errorf("attach to tap device %s: %w", name, err), unix.Close(fd))
	}
	return fd, nil
}

// start brings the device up.
func (p *Port) start(name string) (err error) {
	if err := Up(name); err != nil {
		return err
	}
	if p.link, err = net.InterfaceByName(name); err != nil {
		return err
	}
	for _, q := range p.queues {
		q.link = p.link
	}
	return nil
}

// Up brings an interface up.
func Up(name string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, request); err != nil {
		return fmt.Errorf("flags of %s: %w", name, err)
	}
	if request.Uint16()&unix.IFF_UP != 0 {
		return nil
	}
	request.SetUint16(request.Uint16() | unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("bring %s up: %w", name, err)
	}
	return nil
}

// Kind is tap.
func (*Port) Kind() string { return "tap" }

// Hardware is one more than the address of the host's end, which is not ours.
func (p *Port) Hardware() (mac [6]byte) {
	if p.link == nil {
		return mac
	}
	copy(mac[:], p.link.HardwareAddr)
	mac[5]++
	return mac
}

// Queues are one descriptor each.
func (p *Port) Queues() []pktgen.Queue {
	out := make([]pktgen.Queue, len(p.queues))
	for i, q := range p.queues {
		out[i] = q
	}
	return out
}

// Close lets go of the device.
func (p *Port) Close() error {
	var err error
	for _, q := range p.queues {
		err = errors.Join(err, unix.Close(q.fd))
	}
	p.queues = nil
	return err
}

// queue is a descriptor, which takes and gives a frame a system call.
type queue struct {
	fd     int
	size   int // of the longest frame to be sent
	link   *net.Interface
	sent   [][]byte // buffers
	frames [][]byte // what of them was to be sent
	first  int      // of frames that was not yet
	got    [][]byte
}

// Reserve implements pktgen.Queue.
func (q *queue) Reserve(frames [][]byte) (int, error) {
	if q.sent == nil {
		q.sent = pktgen.Buffers(batch, q.size)
		q.frames = make([][]byte, 0, batch)
	}
	if _, err := q.Flush(); err != nil || q.first < len(q.frames) {
		return 0, err
	}
	return copy(frames, q.sent), nil
}

// Send implements pktgen.Queue.
func (q *queue) Send(frames [][]byte) error {
	q.frames, q.first = append(q.frames[:0], frames...), 0
	_, err := q.Flush()
	return err
}

// Flush implements pktgen.Queue.
func (q *queue) Flush() (int, error) {
	for q.first < len(q.frames) {
		_, err := unix.Write(q.fd, q.frames[q.first])
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOBUFS):
			return len(q.frames) - q.first, nil
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EIO): // what the driver says of an interface that is down
			return len(q.frames) - q.first, errors.Join(q.Check(), err)
		case err != nil:
			return len(q.frames) - q.first, err
		}
		q.first++
	}
	return 0, nil
}

// Receive implements pktgen.Queue.
func (q *queue) Receive(frames [][]byte) (int, error) {
	if q.got == nil {
		q.got = pktgen.Buffers(batch, longest)
	}
	for n := range min(len(frames), batch) {
		k, err := unix.Read(q.fd, q.got[n][:longest])
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
			return n, nil
		case err != nil && n > 0:
			return n, nil // and the next call fails
		case err != nil:
			return 0, err
		}
		frames[n] = q.got[n][:k]
	}
	return min(len(frames), batch), nil
}

// Release implements pktgen.Queue.
func (q *queue) Release() error { return nil }

// Descriptor implements pktgen.Queue.
func (q *queue) Descriptor() int { return q.fd }

// Check implements pktgen.Checker. There is no carrier but ours.
func (q *queue) Check() error {
	if q.link == nil {
		return nil
	}
	return packet.CheckLink(q.link)
}
