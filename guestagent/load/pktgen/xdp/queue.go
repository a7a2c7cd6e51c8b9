package xdp

import (
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"picolab/guestagent/load/pktgen"
)

// Sizes of a queue: frames to send and to receive are apart, each in a chunk of its own.
const (
	slots = 2048 // of each ring
	chunk = 4096
)

// Pages of the rings in the socket (linux/if_xdp.h).
const (
	pageRx         = 0
	pageTx         = 0x80000000
	pageFill       = 0x100000000
	pageCompletion = 0x180000000
)

// queue is a socket on one queue of an interface.
type queue struct {
	link     *net.Interface
	number   int
	fd       int
	zeroCopy bool
	memory   []byte

	fill, completion, rx, tx *ring

	free  []uint64 // addresses of frames to send that are ours; the last ones go first
	taken uint32   // frames that the caller looks at
	lost  uint64   // frames that the driver dropped
	asked time.Time
}

func openQueue(link *net.Interface, number int, use pktgen.Use) (_ *queue, err error) {
	fd, err := unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	q := &queue{link: link, number: number, fd: fd}
	defer func() {
		if err != nil {
			err = errors.Join(err, q.close())
		}
	}()
	if err := q.allocate(use); err != nil {
		return nil, err
	}
	return q, q.bind(use)
}

// allocate makes the memory and the rings.
func (q *queue) allocate(use pktgen.Use) (err error) {
	chunks := 0
	if use.Send {
		chunks += slots
	}
	if use.Receive {
		chunks += slots
	}
	q.memory, err = unix.Mmap(-1, 0, chunks*chunk, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return fmt.Errorf("memory for frames: %w", err)
	}
	if err := register(q.fd, q.memory); err != nil {
		return err
	}
	off, err := offsets(q.fd)
	if err != nil {
		return fmt.Errorf("ring offsets: %w", err)
	}
	if q.fill, err = newRing(q.fd, unix.XDP_UMEM_FILL_RING, pageFill, slots, 8, off.Fr); err != nil {
		return err
	}
	if q.completion, err = newRing(q.fd, unix.XDP_UMEM_COMPLETION_RING, pageCompletion, slots, 8, off.Cr); err != nil {
		return err
	}
	if use.Receive {
		if q.rx, err = newRing(q.fd, unix.XDP_RX_RING, pageRx, slots, 16, off.Rx); err != nil {
			return err
		}
	}
	if use.Send {
		q.tx, err = newRing(q.fd, unix.XDP_TX_RING, pageTx, slots, 16, off.Tx)
	}
	return err
}

// bind fills the rings and starts the socket.
func (q *queue) bind(use pktgen.Use) error {
	next := uint64(0)
	if use.Receive {
		for i := range uint32(slots) {
			*q.fill.address(i) = next
			next += chunk
		}
		q.fill.produce(slots)
	}
	for ; next < uint64(len(q.memory)); next += chunk {
		q.free = append(q.free, next)
	}
	if use.Send {
		// Linux 6.17: as many frames a call as the ring has, instead of 32.
		_ = unix.SetsockoptInt(q.fd, unix.SOL_XDP, unix.XDP_MAX_TX_SKB_BUDGET, slots)
	}
	a := &unix.SockaddrXDP{Flags: unix.XDP_USE_NEED_WAKEUP, Ifindex: uint32(q.link.Index), QueueID: uint32(q.number)}
	if err := unix.Bind(q.fd, a); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	flags, err := unix.GetsockoptInt(q.fd, unix.SOL_XDP, unix.XDP_OPTIONS)
	q.zeroCopy = err == nil && flags&unix.XDP_OPTIONS_ZEROCOPY != 0
	return nil
}

// close closes the socket before its memory goes.
func (q *queue) close() error {
	err := unix.Close(q.fd)
	for _, r := range []*ring{q.fill, q.completion, q.rx, q.tx} {
		err = errors.Join(err, r.close())
	}
	if q.memory != nil {
		err = errors.Join(err, unix.Munmap(q.memory))
	}
	return err
}

// Reserve implements pktgen.Queue.
func (q *queue) Reserve(frames [][]byte) (int, error) {
	q.reap()
	n := min(len(frames), len(q.free), int(q.tx.room()))
	if n == 0 {
		return 0, q.kick()
	}
	for i := range n {
		at := q.free[len(q.free)-1-i]
		frames[i] = q.memory[at : at+maxFrame : at+chunk]
	}
	return n, nil
}

// reap takes back the frames that have left.
func (q *queue) reap() {
	n := q.completion.ready()
	for i := range n {
		q.free = append(q.free, *q.completion.address(i)&^(chunk-1))
	}
	q.completion.consume(n)
}

// Send implements pktgen.Queue.
func (q *queue) Send(frames [][]byte) error {
	for i, f := range frames {
		d := q.tx.descriptor(uint32(i))
		d.Addr, d.Len, d.Options = q.free[len(q.free)-1-i], uint32(len(f)), 0
	}
	q.free = q.free[:len(q.free)-len(frames)]
	q.tx.produce(uint32(len(frames)))
	_, err := q.Flush()
	return err
}

// Flush implements pktgen.Queue. A kernel before 6.17 takes 32 frames a call.
func (q *queue) Flush() (int, error) {
	if q.tx == nil {
		return 0, nil
	}
	for before := q.tx.pending(); before > 0; {
		if q.zeroCopy && !q.tx.wanted() {
			return int(before), nil
		}
		err := q.kick()
		left := q.tx.pending()
		if err != nil || left == 0 || left == before || q.zeroCopy {
			return int(left), err
		}
		before = left
	}
	return 0, nil
}

// kick sends. The kernel says EBUSY when the driver dropped a frame, which is also how it says that there is no carrier.
func (q *queue) kick() error {
	err := kick(q.fd)
	if !errors.Is(err, unix.EBUSY) {
		return err
	}
	q.lost++
	if time.Since(q.asked) < askEvery {
		return nil
	}
	q.asked = time.Now()
	return q.Check()
}

// askEvery is how often the link is asked at most.
const askEvery = 100 * time.Millisecond

// Lost implements pktgen.Loser.
func (q *queue) Lost() uint64 { return q.lost }

// Receive implements pktgen.Queue.
func (q *queue) Receive(frames [][]byte) (int, error) {
	if q.rx == nil {
		return 0, nil
	}
	n := min(q.rx.ready(), uint32(len(frames)))
	for i := range n {
		d := q.rx.descriptor(i)
		end := d.Addr + uint64(d.Len)
		frames[i] = q.memory[d.Addr:end:end]
	}
	q.taken = n
	return int(n), nil
}

// Release implements pktgen.Queue. The fill ring has room for all frames there are.
func (q *queue) Release() error {
	if q.taken == 0 {
		return nil
	}
	for i := range q.taken {
		*q.fill.address(i) = q.rx.descriptor(i).Addr &^ (chunk - 1)
	}
	q.rx.consume(q.taken)
	q.fill.produce(q.taken)
	q.taken = 0
	if !q.fill.wanted() {
		return nil
	}
	var nothing [0]byte
	_, _, err := unix.Recvfrom(q.fd, nothing[:], unix.MSG_DONTWAIT)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	return err
}

// Dropped implements pktgen.Dropper: frames that found no memory or a full ring.
func (q *queue) Dropped() (uint64, error) {
	s, err := statistics(q.fd)
	return s.Rx_dropped + s.Rx_ring_full, err
}
