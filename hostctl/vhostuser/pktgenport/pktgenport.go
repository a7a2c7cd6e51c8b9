// Package pktgenport is pktgen's port "vhost:PATH": the driver of a virtio-net whose device is a vhost-user back-end (package
// virtiouser), such as a switch of ours or DPDK's vhost driver. Names are PATH[,server][,packed][,size=N]: the path of the
// socket, to which it connects unless it is the server; packed rings; entries of a ring, 256 by default. Each thread has a
// pair of queues.
package pktgenport

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"picolab/guestagent/load/pktgen"
	"picolab/hostctl/vhostuser/virtiouser"
)

// With adds this port to those that a program may open, and returns them.
func With(all pktgen.Ports) pktgen.Ports {
	all["vhost"] = Open
	return all
}

// Open connects to a back-end, or waits for one, for at most 10 seconds.
func Open(ctx context.Context, name string, use pktgen.Use) (pktgen.Port, error) {
	c, err := parse(name)
	if err != nil {
		return nil, err
	}
	c.Pairs, c.Frame = use.Queues, min(use.Size, virtiouser.MaxFrame)
	p, err := virtiouser.Open(ctx, c)
	if err != nil {
		return nil, err
	}
	return port{p}, nil
}

// parse reads a name.
func parse(name string) (c virtiouser.Config, err error) {
	words := strings.Split(name, ",")
	c.Path = words[0]
	for _, w := range words[1:] {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "server":
			c.Server = true
		case "client":
		case "packed":
			c.Packed = true
		case "size":
			c.Size, err = strconv.Atoi(value)
		default:
			err = errors.New("there are server, client, packed, size=")
		}
		if err != nil {
			return c, fmt.Errorf("vhost option %q: %w", w, err)
		}
	}
	return c, nil
}

// port is a driver that is open.
type port struct{ driver *virtiouser.Port }

func (port) Kind() string { return "vhost-user" }

// Hardware is made up: the device knows no address of its driver's.
func (port) Hardware() [6]byte { return [6]byte{2, 'v', 'h', 'o', 's', 't'} }

func (p port) Queues() (out []pktgen.Queue) {
	for _, pair := range p.driver.Pairs() {
		out = append(out, &queue{Pair: pair})
	}
	return out
}

func (p port) Close() error { return p.driver.Close() }

// queue is a pair. Frames are made and looked at in the rings' memory.
type queue struct{ *virtiouser.Pair }

// Send implements pktgen.Queue. What was reserved always fits.
func (q *queue) Send(frames [][]byte) error {
	q.Pair.Send(frames)
	return nil
}

// Flush implements pktgen.Queue: frames have left once the device gave their buffers back.
func (q *queue) Flush() (int, error) {
	n, err := q.Pending()
	if err == nil && n > 0 {
		err = q.Err()
	}
	return n, err
}

// Release implements pktgen.Queue.
func (q *queue) Release() error {
	q.Pair.Release()
	return nil
}

// Check implements pktgen.Checker.
func (q *queue) Check() error { return q.Err() }

// Descriptor implements pktgen.Queue: the device does not call.
func (*queue) Descriptor() int { return -1 }
