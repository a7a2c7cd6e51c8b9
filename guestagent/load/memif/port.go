package memif

import (
	"errors"
	"fmt"
	"math/bits"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Limits of a port.
const (
	MaxQueues  = 16                     // rings in each direction
	MaxFrame   = 65535                  // bytes of the longest frame that DPDK and VPP make
	minFrame   = 14                     // an Ethernet header
	maxRegions = 64                     // of a client
	redial     = 100 * time.Millisecond // between attempts of a client
)

// ErrDown means that no peer is connected, or that it has fewer queues.
var ErrDown = errors.New("memif is down")

// Role says who listens.
type Role int

// The roles; VPP and older programs call them master and slave.
const (
	Server Role = iota // has the socket
	Client             // connects to it, and owns the memory
)

// Config describes a port. The peer's decides where the two differ, within these limits.
type Config struct {
	Role   Role
	Path   string // of the socket
	ID     uint32 // of the interface on that socket
	Name   string // of the interface, told to the peer
	Secret string // up to 24 bytes; a server wants the same from its client

	Queues int // in each direction, 1 to MaxQueues; 0 means 1
	Size   int // client: entries of a ring, a power of two, 2 to 16384; 0 means 1024
	Buffer int // client: bytes of a buffer, 64 to 65472; 0 means 2048

	Logf func(format string, args ...any) // why connections ended; may be nil
}

func (c Config) withDefaults() (Config, error) {
	for _, d := range []struct {
		v *int
		n int
	}{{&c.Queues, 1}, {&c.Size, 1024}, {&c.Buffer, 2048}} {
		if *d.v == 0 {
			*d.v = d.n
		}
	}
	if c.Logf == nil {
		c.Logf = func(string, ...any) {}
	}
	switch {
	case c.Queues < 1 || c.Queues > MaxQueues,
		c.Size < 2 || c.Size > 1<<maxLog2 || bits.OnesCount(uint(c.Size)) != 1,
		c.Buffer < 64 || c.Buffer > 65472,
		len(c.Secret) > secretSize:
		return c, fmt.Errorf("make memif: %d queues of %d entries of %d bytes, secret of %d", c.Queues, c.Size, c.Buffer, len(c.Secret))
	}
	return c, nil
}

// Events are told to the owner of a Port, from Serve's goroutine. Neither may wait for a call of Take or Put to find it out.
type Events interface {
	// Up tells that frames may come from queue: look for some at once. interrupt becomes readable when there are after Arm:
	// an eventfd, which a level-triggered wait has to read, and nobody may close.
	Up(queue, interrupt int)
	// Down tells that no frames will come. After its return interrupt is closed.
	Down(queue int)
}

// Stats counts frames and bytes, since the port was made.
type Stats struct {
	FromFrames, FromBytes uint64 // taken from the peer
	FromBad               uint64 // dropped: shorter than an Ethernet header, or longer than the room for it
	ToFrames, ToBytes     uint64 // put to the peer
	ToFull                uint64 // dropped: the peer has not enough buffers
	ToDown                uint64 // dropped: no peer
}

type counters struct {
	fromFrames, fromBytes, fromBad, toFrames, toBytes, toFull, toDown atomic.Uint64
}

// Port is one end of an interface. Take, Put and Arm of one queue must not run at the same time as themselves; everything else
// may.
type Port struct {
	cfg    Config
	events Events
	queues []queue
	count  counters
	once   sync.Once
	closed chan struct{}
	listen *net.UnixListener // a server's

	mu   sync.Mutex
	conn *net.UnixConn // of the peer, nil without
}

// queue is a ring in each direction.
type queue struct {
	from, to  ring
	take, put batch
}

// New returns a port. A server's socket exists on return, and only this user may connect to it. Serve does the rest.
func New(cfg Config, events Events) (*Port, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	p := &Port{cfg: cfg, events: events, queues: make([]queue, cfg.Queues), closed: make(chan struct{})}
	for i := range p.queues {
		q := &p.queues[i]
		q.from.fd, q.to.fd, q.to.sending = -1, -1, true
		q.from.client, q.to.client = cfg.Role == Client, cfg.Role == Client
		q.take.run = func() error { return q.from.takeAll(&q.take) }
		q.from.armIt = q.from.doArm
		q.put.run = func() error { return q.to.putAll(&q.put) }
	}
	if cfg.Role == Server {
		if p.listen, err = listen(cfg.Path); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Queues returns the number of queues.
func (p *Port) Queues() int { return len(p.queues) }

// Take fills frames, which it cuts to length after it used all of their capacity for room, with what the peer has sent on
// that queue, and returns how many there are. It does not allocate. Once there were frames the peer is told not to interrupt,
// until Arm.
func (p *Port) Take(queue int, frames [][]byte) (int, error) {
	q := &p.queues[queue]
	err := q.from.work(&q.take, frames)
	b := &q.take
	add(&p.count.fromFrames, uint64(b.n))
	add(&p.count.fromBytes, b.bytes)
	add(&p.count.fromBad, b.bad)
	return b.n, p.check(err, b.n)
}

// Put gives frames to the peer on that queue, in order, and returns how many of them it took; the others are dropped and
// counted. It never waits and does not allocate.
func (p *Port) Put(queue int, frames [][]byte) int {
	q := &p.queues[queue]
	err := p.check(q.to.work(&q.put, frames), 0)
	b := &q.put
	add(&p.count.toFrames, uint64(b.n))
	add(&p.count.toBytes, b.bytes)
	lost := uint64(len(frames) - b.n)
	if err != nil {
		add(&p.count.toDown, lost)
	} else {
		add(&p.count.toFull, lost)
	}
	return b.n
}

// check ends the connection with a peer that broke a ring.
func (p *Port) check(err error, n int) error {
	if err == nil {
		return nil
	}
	if !errors.Is(err, ErrDown) {
		p.drop(err)
	}
	if n > 0 {
		return nil
	}
	return ErrDown
}

// Arm asks the peer for an interrupt when it sends something, and reports whether there is something already, for which none
// may come.
func (p *Port) Arm(queue int) (more bool) { return p.queues[queue].from.arm() }

// Pending returns about how many of the frames that were Put the peer has not taken yet; 0 without a peer. It must not run at
// the same time as Put of that queue. A peer that keeps buffers back makes it more than there are.
func (p *Port) Pending(queue int) int { return p.queues[queue].to.pending() }

// Up reports whether a peer is connected that has that queue.
func (p *Port) Up(queue int) bool {
	r := &p.queues[queue].from
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.regions != nil
}

// Stats returns the counts of now.
func (p *Port) Stats() Stats {
	c := &p.count
	return Stats{
		FromFrames: c.fromFrames.Load(), FromBytes: c.fromBytes.Load(), FromBad: c.fromBad.Load(),
		ToFrames: c.toFrames.Load(), ToBytes: c.toBytes.Load(), ToFull: c.toFull.Load(), ToDown: c.toDown.Load(),
	}
}

// drop ends the connection; Serve goes on with the next one.
func (p *Port) drop(reason error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != nil {
		p.cfg.Logf("memif %s: %v", p.cfg.Path, reason)
		_ = p.conn.Close()
	}
	p.conn = nil
}
