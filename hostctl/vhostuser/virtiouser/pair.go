package virtiouser

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// Pair is a queue in each direction. Only one goroutine may use it at a time. Nothing of it waits or, once it has seen the
// longest frames, allocates.
type Pair struct {
	port   *Port
	rx, tx side
	merged bool // a frame may come in several buffers
	held   []buffer
	whole  []byte // frames put together from several buffers
}

// side is a ring with its buffers, those that are free first in, first out.
type side struct {
	ring
	*buffers
	kick  int
	free  []buffer // a queue of as many as the ring has entries, from head on
	head  int
	count int
	batch []buffer // room for as many
}

// begin makes all buffers free, and gives those that the device is to write to it.
func (s *side) begin(kick int) {
	s.kick = kick
	s.ring.begin()
	s.free, s.batch = make([]buffer, s.size()), make([]buffer, s.size())
	for i := range s.batch {
		s.batch[i] = buffer{uint16(i), uint32(s.room)}
	}
	if s.flags&flagWrite != 0 {
		s.add(s.batch)
		return
	}
	s.put(s.batch)
}

// put makes buffers free.
func (s *side) put(b []buffer) {
	for _, v := range b {
		s.free[(s.head+s.count)&int(s.mask)] = v
		s.count++
	}
}

// peek returns the i-th free buffer.
func (s *side) peek(i int) uint16 { return s.free[(s.head+i)&int(s.mask)].id }

// publish makes buffers available and kicks the device if it wants that.
func (s *side) publish(b []buffer) {
	if len(b) == 0 {
		return
	}
	s.add(b)
	if s.kickWanted() {
		s.notify()
	}
}

func (s *side) notify() {
	_, _ = unix.Write(s.kick, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // EAGAIN: it is full, so readable
}

// reap makes sent buffers free.
func (s *side) reap() error {
	n, err := s.take(s.batch)
	s.put(s.batch[:n])
	return err
}

// Reserve sets frames to empty buffers, each as long as Config.Frame, and returns how many: fewer when the device has not
// sent yet what it has. They are the caller's until Send.
func (q *Pair) Reserve(frames [][]byte) (int, error) {
	s := &q.tx
	if s.count < len(frames) {
		if err := s.reap(); err != nil {
			return 0, err
		}
	}
	n := min(len(frames), s.count)
	for i := range n {
		frames[i] = s.bytes(s.peek(i))[headerSize:]
	}
	return n, nil
}

// Send gives the first frames of the last Reserve, each cut to its length, to the device.
func (q *Pair) Send(frames [][]byte) {
	s := &q.tx
	for i, f := range frames {
		s.batch[i] = buffer{s.peek(i), uint32(headerSize + len(f))}
	}
	s.head, s.count = (s.head+len(frames))&int(s.mask), s.count-len(frames)
	s.publish(s.batch[:len(frames)])
}

// Pending returns how many frames the device has not sent yet.
func (q *Pair) Pending() (int, error) {
	s := &q.tx
	err := s.reap()
	return s.size() - s.count, err
}

// Receive sets frames to what has come, and returns how many. They lie in memory that the device could change, and are valid
// until Release.
func (q *Pair) Receive(frames [][]byte) (int, error) {
	s := &q.rx
	n, err := s.take(s.batch[:min(len(frames), s.size()-len(q.held))])
	got, used := s.batch[:n], 0
	q.whole = q.whole[:0]
	count := 0
	for used < len(got) && err == nil {
		b := s.bytes(got[used].id)
		parts := 1
		if q.merged {
			parts = int(binary.LittleEndian.Uint16(b[numBuffers:]))
		}
		if parts == 1 {
			frames[count] = b[headerSize:max(got[used].len, headerSize)]
		} else {
			got, err = q.complete(got, used+parts, parts)
			if err == nil {
				frames[count] = q.join(got[used : used+parts])
			}
		}
		used, count = used+parts, count+1
	}
	q.held = append(q.held, got...)
	if err != nil {
		return 0, err
	}
	return count, nil
}

// complete takes more buffers, until there are want: the device gives all parts of a frame at once.
func (q *Pair) complete(got []buffer, want, parts int) ([]buffer, error) {
	s := &q.rx
	if parts == 0 || want > s.size()-len(q.held) {
		return got, s.broken("a frame of %d buffers", parts)
	}
	for len(got) < want {
		n, err := s.take(s.batch[len(got):want])
		if err != nil {
			return got, err
		}
		if n == 0 {
			return got, s.broken("a frame of %d buffers, of which %d came", parts, parts-(want-len(got)))
		}
		got = s.batch[:len(got)+n]
	}
	return got, nil
}

// join copies the parts of a frame behind each other.
func (q *Pair) join(parts []buffer) []byte {
	at := len(q.whole)
	skip := headerSize
	for _, p := range parts {
		b := q.rx.bytes(p.id)[:p.len]
		q.whole = append(q.whole, b[min(skip, len(b)):]...)
		skip = 0
	}
	return q.whole[at:len(q.whole):len(q.whole)]
}

// Release gives the buffers of all that was received back to the device.
func (q *Pair) Release() {
	for i := range q.held {
		q.held[i].len = uint32(q.rx.room)
	}
	q.rx.publish(q.held)
	q.held = q.held[:0]
}

// Err tells whether the back-end is gone: ENETDOWN. It is a system call, for when nothing moves.
func (q *Pair) Err() error {
	if q.port.conn.gone() {
		return fmt.Errorf("the back-end is gone: %w", unix.ENETDOWN)
	}
	return nil
}
