// Package memifport is pktgen's port on a memif, shared memory between two programs (package memif): DPDK, VPP, or another
// pkt-gen. Names are PATH[,server][,id=N][,secret=S][,size=N]: the path of the socket, to which it connects unless it is the
// server; id and secret of the interface; entries of a ring.
package memifport

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"picolab/guestagent/load/memif"
	"picolab/guestagent/load/pktgen"
)

// connectTime is how long a peer may take to come.
const connectTime = 10 * time.Second

// batch is how many frames a queue hands out at a time.
const batch = 256

// Port is one end of a memif.
type Port struct {
	memif  *memif.Port
	queues []*queue
	cancel context.CancelFunc
	served sync.WaitGroup
	failed error
}

// Open connects to a server, or waits for a client, for at most 10 seconds.
func Open(ctx context.Context, name string, use pktgen.Use) (pktgen.Port, error) {
	c, err := parse(name)
	if err != nil {
		return nil, err
	}
	c.Queues = use.Queues
	up := make(chan struct{})
	m, err := memif.New(c, &events{up: up})
	if err != nil {
		return nil, err
	}
	p := &Port{memif: m}
	serving, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p.cancel = cancel
	p.served.Go(func() { p.failed = m.Serve(serving) })
	select {
	case <-up:
	case <-ctx.Done():
		err = ctx.Err()
	case <-time.After(connectTime):
		err = fmt.Errorf("no peer came to %s: %w", c.Path, unix.ETIMEDOUT)
	}
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	p.open(use)
	return p, nil
}

// open makes the queues.
func (p *Port) open(use pktgen.Use) {
	size := use.Size
	if size == 0 {
		size = memif.MaxFrame
	}
	for i := range p.memif.Queues() {
		q := &queue{port: p.memif, number: i}
		if use.Send {
			q.out = pktgen.Buffers(batch, size)
		}
		if use.Receive {
			q.in = pktgen.Buffers(batch, memif.MaxFrame)
			q.got = make([][]byte, batch)
		}
		p.queues = append(p.queues, q)
	}
}

// parse reads a name.
func parse(name string) (memif.Config, error) {
	words := strings.Split(name, ",")
	c := memif.Config{Role: memif.Client, Path: words[0], Name: "pkt-gen"}
	for _, w := range words[1:] {
		key, value, _ := strings.Cut(w, "=")
		var n uint64
		var err error
		switch key {
		case "server":
			c.Role = memif.Server
		case "client":
		case "secret":
			c.Secret = value
		case "id":
			n, err = strconv.ParseUint(value, 10, 32)
			c.ID = uint32(n)
		case "size":
			n, err = strconv.ParseUint(value, 10, 15)
			c.Size = int(n)
		default:
			err = errors.New("there are server, client, id=, secret=, size=")
		}
		if err != nil {
			return c, fmt.Errorf("memif option %q: %w", w, err)
		}
	}
	return c, nil
}

// events tells when the first queue is up.
type events struct {
	up   chan struct{}
	once sync.Once
}

// Up implements memif.Events.
func (e *events) Up(int, int) { e.once.Do(func() { close(e.up) }) }

// Down implements memif.Events; the queues find it out.
func (*events) Down(int) {}

// Kind is memif.
func (*Port) Kind() string { return "memif" }

// Hardware is made up: a memif has no address.
func (*Port) Hardware() [6]byte { return [6]byte{2, 'm', 'e', 'm', 'i', 'f'} }

// Queues are the rings, one of each direction.
func (p *Port) Queues() []pktgen.Queue {
	out := make([]pktgen.Queue, len(p.queues))
	for i, q := range p.queues {
		out[i] = q
	}
	return out
}

// lastTime is how long, on Close, the peer may take nothing of what was sent before it is given up.
const lastTime = 50 * time.Millisecond

// Close lets the peer take what was sent, and ends the connection.
func (p *Port) Close() error {
	for left, since := -1, time.Now(); left != 0 && time.Since(since) < lastTime; time.Sleep(time.Millisecond) {
		now := 0
		for _, q := range p.queues {
			now += p.memif.Pending(q.number)
		}
		if now != left {
			left, since = now, time.Now()
		}
	}
	p.cancel()
	p.served.Wait()
	return p.failed
}

// queue is a ring of each direction.
type queue struct {
	port    *memif.Port
	number  int
	out, in [][]byte // buffers
	got     [][]byte // in, cut to what came
	frames  [][]byte // of out that were to be sent
	first   int      // of frames that was not yet
}

// errDown is what the end of the peer is to pktgen.
func errDown() error { return fmt.Errorf("the peer of the memif is gone: %w", unix.ENETDOWN) }

// Reserve implements pktgen.Queue.
func (q *queue) Reserve(frames [][]byte) (int, error) {
	if pending, err := q.Flush(); err != nil || pending > 0 {
		return 0, err
	}
	return copy(frames, q.out), nil
}

// Send implements pktgen.Queue.
func (q *queue) Send(frames [][]byte) error {
	q.frames, q.first = append(q.frames[:0], frames...), 0
	_, err := q.Flush()
	return err
}

// Flush implements pktgen.Queue. What the peer has no room for is tried again.
func (q *queue) Flush() (int, error) {
	if q.first < len(q.frames) {
		q.first += q.port.Put(q.number, q.frames[q.first:])
	}
	left := len(q.frames) - q.first
	if left > 0 && !q.port.Up(q.number) {
		return left, errDown()
	}
	return left, nil
}

// Receive implements pktgen.Queue.
func (q *queue) Receive(frames [][]byte) (int, error) {
	n := copy(q.got, q.in[:min(len(frames), len(q.in))])
	n, err := q.port.Take(q.number, q.got[:n])
	if err != nil {
		return 0, errDown()
	}
	return copy(frames, q.got[:n]), nil
}

// Release implements pktgen.Queue: what was received is a copy.
func (*queue) Release() error { return nil }

// Descriptor implements pktgen.Queue.
func (*queue) Descriptor() int { return -1 }
