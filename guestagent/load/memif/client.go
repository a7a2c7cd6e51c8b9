package memif

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"golang.org/x/sys/unix"
)

// asClient introduces this end to a server.
func (s *session) asClient() error {
	m, err := s.expect(msgHello)
	if err != nil {
		return err
	}
	h := m.hello()
	if h.min > version || h.max < version {
		return fmt.Errorf("server has versions %#x to %#x: %w", h.min, h.max, errProtocol)
	}
	cfg := &s.port.cfg
	n := min(cfg.Queues, int(h.maxToClient)+1, int(h.maxToServer)+1)
	log2 := min(uint8(bits.TrailingZeros(uint(cfg.Size))), h.maxLog2)
	if log2 == 0 {
		return fmt.Errorf("server has rings of 1 entry: %w", errProtocol)
	}
	i := initial{version: version, id: cfg.ID, secret: cfg.Secret, name: "picolab"}
	if err := s.request(i.encode()); err != nil {
		return err
	}
	if err := s.share(n, log2); err != nil {
		return err
	}
	if err := s.send(encodeName(msgConnect, cfg.Name)); err != nil {
		return err
	}
	if _, err := s.expect(msgConnected); err != nil {
		return err
	}
	return s.start(n)
}

// share makes the memory, all of it one region, and tells of it and of the rings.
func (s *session) share(n int, log2 uint8) error {
	p := plan{n: n, size: 1 << log2, room: s.port.cfg.Buffer}
	fd, mem, err := makeRegion(p.total())
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	s.regions = [][]byte{mem}
	if err := s.request(encodeRegion(0, uint64(len(mem))), fd); err != nil {
		return err
	}
	for i := range 2 * n {
		toServer, index := i < n, i%n
		r := &s.port.queues[index].from
		if toServer {
			r = &s.port.queues[index].to
		}
		if err := s.place(r, p, i, log2); err != nil {
			return err
		}
		a := addRing{toServer: toServer, index: uint16(index), offset: uint32(p.ring(i)), log2: log2}
		if err := s.request(a.encode(), r.fd); err != nil {
			return err
		}
	}
	return nil
}

// place sets up ring number i of the plan.
func (s *session) place(r *ring, p plan, i int, log2 uint8) error {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("make interrupt: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fd = fd
	binary.LittleEndian.PutUint32(s.regions[0][p.ring(i):], cookie)
	r.base, r.stride, r.room = uint64(p.buffers(i)), uint64(p.stride()), uint32(p.room)
	return r.locate(s.regions, 0, uint32(p.ring(i)), log2)
}

// plan is the layout of a client's memory: 2n rings, then the buffers of each.
type plan struct{ n, size, room int }

// stride is not a multiple of a large power of two: buffers that far apart share few sets of the cache.
func (p plan) stride() int { return (p.room+63)&^63 + bufferStride }

// ring returns the offset of a ring. They are a page apart, and some cache lines.
func (p plan) ring(i int) int { return i * ((ringSize(p.size)+4095)&^4095 + 256) }

func (p plan) buffers(i int) int { return p.ring(2*p.n) + i*p.size*p.stride() }

func (p plan) total() int { return (p.buffers(2*p.n) + 4095) &^ 4095 }
