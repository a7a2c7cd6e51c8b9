// Package xdp is pktgen's port on a network interface by AF_XDP sockets (Documentation/networking/af_xdp).
//
// Each queue of the interface has a socket with memory of its own. A receiving port loads a program that redirects every
// frame of the interface to its sockets: like with netmap, the host sees none of them until the port is closed. The
// program goes away with the process, however that ends. Where the driver cannot share its queues the kernel copies.
//
// Frames must fit a page with the kernel's headroom, so the MTU may be 3498 at most.
package xdp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"picolab/guestagent/load/pktgen"
	"picolab/guestagent/load/pktgen/packet"
)

// Lengths in bytes.
const (
	headroom      = 256 // XDP_PACKET_HEADROOM
	skbTail       = 320 // that the kernel wants behind a frame it builds an skb around
	frameOverhead = 18  // beside the MTU: Ethernet header and VLAN tag
	maxFrame      = 4096 - headroom - skbTail
	maxQueues     = 128
)

// Port is an interface.
type Port struct {
	link     *net.Interface
	queues   []*queue
	redirect *redirect
}

// Open opens a network interface.
func Open(ctx context.Context, name string, use pktgen.Use) (_ pktgen.Port, err error) {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return nil, err
	}
	if link.Flags&net.FlagUp == 0 {
		return nil, fmt.Errorf("interface %s: %w", name, unix.ENETDOWN)
	}
	if longest := min(maxFrame, link.MTU+frameOverhead); use.Size > longest && use.Send {
		return nil, fmt.Errorf("frames of %d bytes are too long for AF_XDP on %s (%d)", use.Size, name, longest)
	}
	if link.MTU+frameOverhead > maxFrame && use.Receive {
		return nil, fmt.Errorf("the MTU %d of %s is too large for AF_XDP", link.MTU, name)
	}
	p := &Port{link: link}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	if err := p.openQueues(ctx, use); err != nil {
		return nil, err
	}
	if use.Receive {
		if p.redirect, err = newRedirect(link.Index, p.queues); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// openQueues opens as many queues as threads send on; a receiver needs all that the interface has.
func (p *Port) openQueues(ctx context.Context, use pktgen.Use) error {
	for i := 0; i < maxQueues && (use.Receive || i < use.Queues); i++ {
		q, err := openFree(ctx, p.link, i, use)
		if errors.Is(err, unix.EINVAL) && i > 0 {
			return nil // no such queue
		}
		if err != nil {
			return fmt.Errorf("AF_XDP socket on queue %d of %s: %w", i, p.link.Name, err)
		}
		p.queues = append(p.queues, q)
	}
	return nil
}

// A queue whose last socket was just closed is busy until the kernel has cleaned up behind it.
const (
	busyTime = 500 * time.Millisecond
	busyStep = 10 * time.Millisecond
)

// openFree opens a queue, if need be once it is free.
func openFree(ctx context.Context, link *net.Interface, number int, use pktgen.Use) (*queue, error) {
	for end := time.Now().Add(busyTime); ; {
		q, err := openQueue(link, number, use)
		if !errors.Is(err, unix.EBUSY) || time.Now().After(end) {
			return q, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(busyStep):
		}
	}
}

// Kind tells how the frames get to the driver.
func (p *Port) Kind() string {
	if p.queues[0].zeroCopy {
		return "AF_XDP without copying"
	}
	return "AF_XDP"
}

// Hardware is the interface's address.
func (p *Port) Hardware() (mac [6]byte) {
	copy(mac[:], p.link.HardwareAddr)
	return mac
}

// Queues are those of the interface.
func (p *Port) Queues() []pktgen.Queue {
	out := make([]pktgen.Queue, len(p.queues))
	for i, q := range p.queues {
		out[i] = q
	}
	return out
}

// Close gives the interface back to the host.
func (p *Port) Close() error {
	var err error
	if p.redirect != nil {
		err = p.redirect.Close()
		p.redirect = nil
	}
	for _, q := range p.queues {
		err = errors.Join(err, q.close())
	}
	p.queues = nil
	return err
}

// Check implements pktgen.Checker.
func (q *queue) Check() error { return packet.CheckLink(q.link) }

// Descriptor implements pktgen.Queue.
func (q *queue) Descriptor() int { return q.fd }
