package virtiouser

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"time"

	"golang.org/x/sys/unix"
)

// Limits of a port.
const (
	MaxPairs = 16         // of queues
	MaxSize  = 32768      // entries of a ring
	MaxFrame = 65535 + 18 // bytes, without check sequence
	maxRoom  = 65536 - headerSize
	mrgRoom  = 2048 // bytes of a receive buffer, where frames may take several
)

// headerSize is that of the header of virtio-net before each frame; its last two bytes say how many buffers the frame takes.
const (
	headerSize = 12
	numBuffers = 10
)

// Config describes a port.
type Config struct {
	Path   string        // of the socket
	Server bool          // listen there, instead of connecting to a back-end that does
	Pairs  int           // of queues, 0 means 1
	Size   int           // entries of a ring, a power of two; 0 means 256
	Packed bool          // packed rings
	Frame  int           // bytes of the longest frame that is sent; 0 means 1514
	Wait   time.Duration // for the back-end; 0 means 10 seconds
}

func (c Config) withDefaults() (Config, error) {
	for _, d := range []struct {
		v *int
		n int
	}{{&c.Pairs, 1}, {&c.Size, 256}, {&c.Frame, 1514}} {
		if *d.v == 0 {
			*d.v = d.n
		}
	}
	if c.Wait == 0 {
		c.Wait = 10 * time.Second
	}
	switch {
	case c.Pairs < 1 || c.Pairs > MaxPairs,
		c.Size < 2 || c.Size > MaxSize || bits.OnesCount(uint(c.Size)) != 1,
		c.Frame < 0 || c.Frame > MaxFrame:
		return c, fmt.Errorf("make virtio-user port: %d pairs of rings of %d entries, frames of %d bytes", c.Pairs, c.Size, c.Frame)
	}
	return c, nil
}

// Port is a network card whose device is a vhost-user back-end.
type Port struct {
	cfg    Config
	conn   *conn
	memory memory
	pairs  []*Pair
	fds    []int
}

// Open connects to a back-end, or waits for one, and starts all rings.
func Open(ctx context.Context, cfg Config) (*Port, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	p := &Port{cfg: cfg}
	ctx, cancel := context.WithTimeout(ctx, cfg.Wait)
	defer cancel()
	if err := p.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("virtio-user %s: %w", cfg.Path, err), p.release())
	}
	return p, nil
}

func (p *Port) open(ctx context.Context) (err error) {
	if p.conn, err = connect(ctx, p.cfg.Path, p.cfg.Server); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = p.conn.SetDeadline(time.Unix(1, 0)) })()
	need := uint64(featureVersion1 | featureProtocol)
	if p.cfg.Packed {
		need |= featurePacked
	}
	if p.cfg.Pairs > 1 {
		need |= featureMQ
	}
	features, err := p.conn.negotiate(need|featureMrgRxbuf, need, p.cfg.Pairs)
	if err != nil {
		return err
	}
	if err := p.plan(features); err != nil {
		return err
	}
	return p.start()
}

// plan makes the rings and their memory.
func (p *Port) plan(features uint64) error {
	room := headerSize + maxRoom
	if features&featureMrgRxbuf != 0 {
		room = headerSize + mrgRoom
	}
	for range p.cfg.Pairs {
		q := &Pair{port: p}
		q.rx.ring, q.rx.buffers = p.ring(room, true)
		q.tx.ring, q.tx.buffers = p.ring(headerSize+p.cfg.Frame, false)
		q.merged = features&featureMrgRxbuf != 0
		p.pairs = append(p.pairs, q)
	}
	return p.memory.open()
}

func (p *Port) ring(room int, write bool) (ring, *buffers) {
	if p.cfg.Packed {
		q := newPacked(&p.memory, p.cfg.Size, room, write)
		return q, &q.buffers
	}
	q := newSplit(&p.memory, p.cfg.Size, room, write)
	return q, &q.buffers
}

// start tells the back-end of memory and rings, in the order in which QEMU and DPDK do.
func (p *Port) start() error {
	if err := p.conn.do(setMemTable, p.memory.table(), p.memory.fd); err != nil {
		return err
	}
	if err := p.conn.status(statusFeaturesOK); err != nil {
		return err
	}
	rings := p.rings()
	for i, s := range rings {
		if err := p.startRing(uint32(i), s); err != nil {
			return err
		}
	}
	for i := range rings {
		if err := p.conn.do(setVringEnable, words32(uint32(i), 1)); err != nil {
			return err
		}
	}
	if err := p.conn.status(statusDriverOK); err != nil {
		return err
	}
	for _, s := range rings {
		s.notify() // a back-end may wait for the first kick before it starts a ring
	}
	return nil
}

// rings are all rings in the protocol's order.
func (p *Port) rings() (all []*side) {
	for _, q := range p.pairs {
		all = append(all, &q.rx, &q.tx)
	}
	return all
}

func (p *Port) startRing(index uint32, s *side) error {
	var fds [2]int
	for i := range fds {
		fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
		if err != nil {
			return fmt.Errorf("make eventfd: %w", err)
		}
		p.fds = append(p.fds, fd)
		fds[i] = fd
	}
	s.begin(fds[0])
	return p.conn.start(index, s.ring, p.cfg.Size, fds[0], fds[1])
}

// Pairs returns the pairs of queues, each for one goroutine at a time.
func (p *Port) Pairs() []*Pair { return p.pairs }

// stopTime is how long a back-end may take to let go of all rings.
const stopTime = time.Second

// Close takes the rings back from the device and ends the connection.
func (p *Port) Close() error {
	if !p.conn.gone() {
		_ = p.conn.SetDeadline(time.Now().Add(stopTime))
		for i := range p.rings() {
			if p.conn.stop(uint32(i)) != nil {
				break // it goes away anyway
			}
		}
	}
	return p.release()
}

// release gives everything back. The device has the memory mapped for as long as it wants.
func (p *Port) release() error {
	err := p.memory.close()
	for _, fd := range p.fds {
		err = errors.Join(err, unix.Close(fd))
	}
	p.fds = nil
	if p.conn != nil {
		err = errors.Join(err, p.conn.Close())
	}
	return err
}
