// Package packet is pktgen's port on a network interface by AF_PACKET sockets (packet(7)).
//
// Frames go by sendmmsg(2), past the queueing discipline (PACKET_QDISC_BYPASS): on veth that is a fifth faster than the
// kernel's transmit ring, whose frames cost a page reference and a destructor each, and it tells exactly how many frames
// the kernel took. They come through a ring of TPACKET_V2: version 3 holds frames back for a millisecond at least, until a
// block is full or old, which would be most of a round trip. Each thread has a socket; receiving ones share the frames
// by PACKET_FANOUT. What the host itself sends is not received.
package packet

import (
	"context"
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"

	"picolab/guestagent/load/pktgen"
)

// Port is an interface.
type Port struct {
	link   *net.Interface
	queues []*queue
}

// Open opens a network interface.
func Open(_ context.Context, name string, use pktgen.Use) (pktgen.Port, error) {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return nil, err
	}
	if link.Flags&net.FlagUp == 0 {
		return nil, fmt.Errorf("interface %s: %w", name, unix.ENETDOWN)
	}
	longest := link.MTU + frameOverhead
	if use.Size == 0 {
		use.Size = longest
	}
	if use.Send && use.Size > longest {
		return nil, fmt.Errorf("frames of %d bytes are too long for %s, whose MTU is %d", use.Size, name, link.MTU)
	}
	p := &Port{link: link}
	for range use.Queues {
		q, err := openQueue(link, use)
		if err == nil {
			p.queues = append(p.queues, q)
			err = p.share(q, use)
		}
		if err != nil {
			return nil, errors.Join(err, p.Close())
		}
	}
	return p, nil
}

// frameOverhead is what a frame has beside the MTU: the Ethernet header and one VLAN tag.
const frameOverhead = 18

// share lets the sockets of a receiver take frames in turn.
func (p *Port) share(q *queue, use pktgen.Use) error {
	if !use.Receive || use.Queues < 2 {
		return nil
	}
	group := unix.Getpid() & 0xffff // unique on the machine, for all that lives at a time
	if err := unix.SetsockoptInt(q.fd, unix.SOL_PACKET, unix.PACKET_FANOUT, group|unix.PACKET_FANOUT_LB<<16); err != nil {
		return fmt.Errorf("share frames among sockets: %w", err)
	}
	return nil
}

// Kind is AF_PACKET.
func (*Port) Kind() string { return "AF_PACKET" }

// Hardware is the interface's address.
func (p *Port) Hardware() (mac [6]byte) {
	copy(mac[:], p.link.HardwareAddr)
	return mac
}

// Queues are one socket each.
func (p *Port) Queues() []pktgen.Queue {
	out := make([]pktgen.Queue, len(p.queues))
	for i, q := range p.queues {
		out[i] = q
	}
	return out
}

// Close closes the sockets.
func (p *Port) Close() error {
	var err error
	for _, q := range p.queues {
		err = errors.Join(err, q.close())
	}
	p.queues = nil
	return err
}

// queue is a socket.
type queue struct {
	fd   int
	link *net.Interface
	tx   *sender
	rx   *receiver
}

func openQueue(link *net.Interface, use pktgen.Use) (*queue, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open packet socket: %w", err)
	}
	q := &queue{fd: fd, link: link}
	if err := q.set(use); err != nil {
		return nil, errors.Join(err, q.close())
	}
	return q, nil
}

// set makes what use needs, and binds the socket last: frames must not come before the ring is there.
func (q *queue) set(use pktgen.Use) error {
	address := &unix.SockaddrLinklayer{Ifindex: q.link.Index}
	if use.Send {
		// Refused only where drivers must not be entered that way: the queueing discipline then does it.
		_ = unix.SetsockoptInt(q.fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1)
		_ = unix.SetsockoptInt(q.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendBuffer)
		q.tx = newSender(q.fd, use.Size)
	}
	if use.Receive {
		var err error
		if q.rx, err = newReceiver(q.fd, q.link); err != nil {
			return err
		}
		address.Protocol = bigEndian(unix.ETH_P_ALL)
	}
	if err := unix.Bind(q.fd, address); err != nil {
		return fmt.Errorf("bind to %s: %w", q.link.Name, err)
	}
	return nil
}

// sendBuffer is for frames that a NIC has not sent yet.
const sendBuffer = 4 << 20

func bigEndian(v uint16) uint16 { return v<<8 | v>>8 } // of the little-endian machines this runs on

func (q *queue) close() error {
	var err error
	if q.rx != nil {
		err = q.rx.close()
	}
	return errors.Join(err, unix.Close(q.fd))
}

// Reserve implements pktgen.Queue.
func (q *queue) Reserve(frames [][]byte) (int, error) { return q.tx.reserve(frames) }

// Send implements pktgen.Queue.
func (q *queue) Send(frames [][]byte) error { return q.tx.send(frames) }

// Flush implements pktgen.Queue.
func (q *queue) Flush() (int, error) {
	if q.tx == nil {
		return 0, nil
	}
	return q.tx.flush()
}

// Receive implements pktgen.Queue.
func (q *queue) Receive(frames [][]byte) (int, error) {
	if q.rx == nil {
		return 0, nil
	}
	return q.rx.receive(frames), nil
}

// Release implements pktgen.Queue.
func (q *queue) Release() error {
	q.rx.release()
	return nil
}

// Descriptor implements pktgen.Queue.
func (q *queue) Descriptor() int { return q.fd }

// Dropped implements pktgen.Dropper.
func (q *queue) Dropped() (uint64, error) {
	if q.rx == nil {
		return 0, nil
	}
	return q.rx.dropped()
}

// Check implements pktgen.Checker.
func (q *queue) Check() error { return CheckLink(q.link) }

// CheckLink says whether an interface is there, under the same number, up, and with a carrier. A carrier is missing also
// when the other end of a veth pair is down.
func CheckLink(link *net.Interface) error {
	now, err := net.InterfaceByIndex(link.Index)
	switch {
	case err != nil:
		return fmt.Errorf("interface %s is gone: %w", link.Name, unix.ENODEV)
	case now.Flags&net.FlagUp == 0:
		return fmt.Errorf("interface %s: %w", link.Name, unix.ENETDOWN)
	case now.Flags&net.FlagRunning == 0:
		return fmt.Errorf("interface %s has no carrier: %w", link.Name, unix.ENETDOWN)
	}
	return nil
}
