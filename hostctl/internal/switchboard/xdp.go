package switchboard

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"

	"picolab/guestagent/load/pktgen"
	"picolab/guestagent/load/pktgen/xdp"
	"picolab/hostctl/vale"
)

// XDP returns a port on a network interface by AF_XDP sockets, on all of its queues: the kernel sees none of its frames until
// the port is closed. The interface must be up, its MTU is limited (package xdp), and it takes no offloads.
func XDP(name string) (vale.Port, error) {
	// What is to be sent is as long as the MTU lets it be.
	p, err := xdp.Open(context.Background(), name, pktgen.Use{Send: true, Receive: true, Queues: 1})
	if err != nil {
		return nil, err
	}
	return &nic{port: p, queues: p.Queues(), got: make([][]byte, burst), out: make([][]byte, vale.MaxBatch)}, nil
}

// nic is a vale.Port over one of pktgen's, whose memory is its own and not a peer's.
type nic struct {
	port   pktgen.Port
	queues []pktgen.Queue
	waker  vale.Waker

	held pktgen.Queue // whose frames the switch has
	got  [][]byte
	out  [][]byte
	next int // queue to look at first
	gone error
}

func (p *nic) Start(w vale.Waker) error {
	p.waker = w
	for _, q := range p.queues {
		if err := w.Watch(q.Descriptor(), unix.EPOLLIN); err != nil {
			return err
		}
	}
	return nil
}

func (p *nic) Close() error {
	if p.waker != nil {
		for _, q := range p.queues {
			p.waker.Unwatch(q.Descriptor())
		}
	}
	return p.port.Close()
}

// Receive lends what came to the next queue that has something, and gives back what was lent before.
func (p *nic) Receive(frames []vale.Frame) (int, error) {
	if p.held != nil {
		if err := p.held.Release(); err != nil {
			return 0, err
		}
		p.held = nil
	}
	if p.gone != nil {
		return 0, p.gone
	}
	got := p.got[:min(len(p.got), len(frames))]
	for range p.queues {
		q := p.queues[p.next]
		if p.next++; p.next == len(p.queues) {
			p.next = 0
		}
		n, err := q.Receive(got)
		if err != nil {
			return 0, err
		}
		if n > 0 {
			p.held = q
			for i, b := range got[:n] {
				frames[i] = vale.Frame{Data: b}
			}
			return n, nil
		}
	}
	return 0, nil
}

// Send spreads flows over the queues only where there are several; what has no room is lost, and so are frames that are too long.
func (p *nic) Send(frames []vale.Frame) (n, bytes int) {
	if len(p.queues) == 1 {
		return send(p.queues[0], frames, p.out)
	}
	for i := range frames {
		q := p.queues[flow(frames[i].Data)%uint32(len(p.queues))]
		k, b := send(q, frames[i:i+1], p.out)
		n, bytes = n+k, bytes+b
	}
	return n, bytes
}

// send gives frames to a queue. An error of the link shows at its next Receive, or goes away.
func send(q pktgen.Queue, frames []vale.Frame, out [][]byte) (n, bytes int) {
	k, err := q.Reserve(out[:len(frames)])
	if err != nil {
		return 0, 0
	}
	for i := range frames {
		if f := frames[i].Data; n < k && len(f) <= len(out[n]) {
			out[n] = out[n][:copy(out[n], f)]
			n, bytes = n+1, bytes+len(f)
		}
	}
	if q.Send(out[:n]) != nil {
		return 0, 0
	}
	return n, bytes
}

// Offloads are none: the driver is given what goes on the wire.
func (p *nic) Offloads() vale.Offloads { return 0 }

// Arm looks for an error of the sockets, which wakes the switch up: the interface is gone. One that is down may come back.
func (p *nic) Arm() (more bool) {
	for _, q := range p.queues {
		if e, err := unix.GetsockoptInt(q.Descriptor(), unix.SOL_SOCKET, unix.SO_ERROR); err == nil && e != 0 {
			p.gone = fmt.Errorf("AF_XDP: %w", unix.Errno(e))
		}
	}
	return p.gone != nil
}
