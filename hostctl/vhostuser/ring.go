package vhostuser

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"picolab/hostctl/vhostuser/guestmem"
	"picolab/hostctl/vhostuser/virtq"
)

// ErrStopped means that the ring is not running.
var ErrStopped = errors.New("vring stopped")

// stallLimit is how long a write to the call descriptor may keep a ring from stopping before it is unblocked.
const stallLimit = 100 * time.Millisecond

// Ring is one virtqueue of a connected front-end.
type Ring struct {
	index int
	conn  *conn

	// Set by the front-end's messages; touched by the connection's goroutine only.
	size                  uint32
	desc, avail, usedAddr uint64
	haveAddr, haveKick    bool
	enabled, running      bool
	haveBase              bool
	base                  uint32
	features              uint64 // as accepted when the ring started
	logged                bool   // writes to the ring are to be logged
	logAddr               uint64 // where the log has the device area
	kick                  int

	mu    sync.Mutex // held while the queue is worked
	queue virtq.Queue
	// Guarded by mu:
	sealed   bool   // of the memory that the queue uses
	holdBase uint32 // where Hold began
	err      error  // why the queue cannot be worked any more
	call     int    // guarded by mu, like errfd
	errfd    int
	logFD    int // the connection's
}

func newRing(c *conn, index int) *Ring {
	return &Ring{index: index, conn: c, kick: -1, call: -1, errfd: -1, logFD: -1}
}

// Index returns the ring's number, from 0.
func (r *Ring) Index() int { return r.index }

// Features returns what the driver had accepted when the ring started.
func (r *Ring) Features() uint64 { return r.features }

// KickFD returns the descriptor that becomes readable when the driver kicks, or -1 if the front-end wants the ring to be
// polled. It is the front-end's eventfd: wait for it with an edge-triggered epoll, which needs no reading, and never
// change its flags. It is valid from StartRing to the end of StopRing.
func (r *Ring) KickFD() int { return r.kick }

// Kick makes KickFD readable as the driver would, for an owner who waits for it and has something else to do. It does nothing
// if it would have to wait. Call it from the methods of Device only.
func (r *Ring) Kick() {
	fds := []unix.PollFd{{Fd: int32(r.kick), Events: unix.POLLOUT}}
	if n, err := unix.Poll(fds, 0); n == 1 && err == nil && r.kick >= 0 && fds[0].Revents == unix.POLLOUT {
		_, _ = unix.Write(r.kick, one[:])
	}
}

// Do calls fn with the queue, while the ring cannot stop nor the guest's memory change. When fn returns, buffers popped
// and not pushed go back to the ring, pushed ones are flushed, and the driver is called if it wants to be.
//
// It returns fn's error, ErrStopped, or the reason why the ring broke: virtq.ErrBroken ends the ring until it is set up
// anew, guestmem.ErrFault ends the connection. Do does not allocate.
func (r *Ring) Do(fn func(virtq.Queue) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.queue == nil {
		return ErrStopped
	}
	if r.err != nil {
		return r.err
	}
	return r.work(r.queue.Base(), fn)
}

// work is Do for a ring that is held, whose use so far was at base.
func (r *Ring) work(base uint32, fn func(virtq.Queue) error) error {
	err := guestmem.Guard(func() error {
		err := fn(r.queue)
		r.queue.Abort()
		if r.queue.Flush() {
			r.signal(r.call)
		}
		if r.logFD >= 0 && r.queue.Base() != base { // something was used, and so marked
			r.signal(r.logFD)
		}
		return err
	})
	r.check(err)
	return err
}

// Hold is Do for a fn whose buffers stay popped until Release, which must follow if it returns true: from the same goroutine and
// soon, since a front-end that wants to change something waits for it. Until then ring and memory stay as they are, so that the
// buffers may be read without Guard. Where that cannot be promised, since the front-end could take pages of its memory away,
// it is Do. fn is told which it is.
func (r *Ring) Hold(fn func(q virtq.Queue, held bool) error) (held bool, err error) {
	r.mu.Lock()
	defer func() {
		if !held {
			r.mu.Unlock()
		}
	}()
	switch {
	case r.queue == nil:
		return false, ErrStopped
	case r.err != nil:
		return false, r.err
	}
	r.holdBase = r.queue.Base()
	if !r.sealed {
		return false, r.work(r.holdBase, func(q virtq.Queue) error { return fn(q, false) })
	}
	if err = guestmem.Guard(func() error { return fn(r.queue, true) }); err != nil {
		r.queue.Abort()
		r.check(err)
	}
	return err == nil, err
}

// Release calls fn, which pushes the buffers of Hold, and ends as Do does.
func (r *Ring) Release(fn func(virtq.Queue) error) error {
	defer r.mu.Unlock()
	return r.work(r.holdBase, fn)
}

// check takes the consequences of an error in Do.
func (r *Ring) check(err error) {
	switch {
	case err == nil:
	case errors.Is(err, guestmem.ErrFault):
		r.fail(err)
		r.signal(r.errfd)
		r.conn.drop(fmt.Errorf("vring %d: %w", r.index, err))
	case errors.Is(err, virtq.ErrBroken):
		r.fail(err)
		r.signal(r.errfd)
	}
}

// fail ends the use of the queue. The caller holds mu.
func (r *Ring) fail(err error) {
	r.err = err
	r.conn.logf("vring %d: %v", r.index, err)
}

// signal adds 1 to an eventfd of the front-end. It may hang, so only Do may use it: see lock. Nothing to do about errors: the
// descriptor is the front-end's.
func (r *Ring) signal(fd int) {
	if fd >= 0 {
		_, _ = unix.Write(fd, one[:])
	}
}

var one = [8]byte{1} // what an eventfd adds

// lock takes mu even from a Do that hangs: a front-end can make our write to a blocking descriptor wait for ever by filling
// its counter. Reading the descriptor lets the write go on.
func (r *Ring) lock() {
	var locked atomic.Bool
	done := make(chan struct{})
	t := time.AfterFunc(stallLimit, func() {
		defer close(done)
		for ; !locked.Load(); time.Sleep(stallLimit / 10) {
			unstall(r.call)
			unstall(r.errfd)
			unstall(r.logFD)
		}
	})
	r.mu.Lock()
	locked.Store(true)
	if !t.Stop() {
		<-done // it reads the descriptors, which the caller may be about to change
	}
}

// unstall empties an eventfd that is full. One that is not full has no writer waiting, and what is in it is a call that the
// guest has yet to see.
func unstall(fd int) {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	if _, err := unix.Poll(fds, 0); fd < 0 || err != nil || fds[0].Revents&unix.POLLOUT != 0 {
		return
	}
	var buf [8]byte
	_, _ = unix.Preadv2(fd, [][]byte{buf[:]}, -1, unix.RWF_NOWAIT)
}

// ready reports whether everything is there that the ring needs.
func (r *Ring) ready() bool {
	enabled := r.enabled || r.conn.features&FeatureProtocol == 0 // then rings are born enabled
	return enabled && r.haveKick && r.haveAddr && r.size != 0
}

// update starts or stops the ring according to its state.
func (r *Ring) update() error {
	switch ready := r.ready(); {
	case ready && !r.running:
		return r.start()
	case !ready && r.running:
		r.stop()
	}
	return nil
}

// newQueue sets up a queue on what the front-end has told so far.
func (r *Ring) newQueue() (q virtq.Queue, err error) {
	cfg := virtq.Config{
		Size: int(r.size), Features: r.features, Base: r.base, Memory: r.conn.mem,
		Desc: r.desc, Avail: r.avail, Used: r.usedAddr, RingLogAddr: r.logAddr,
	}
	if !r.haveBase && r.base == 0 && r.features&virtq.FeaturePacked != 0 {
		cfg.Base = virtq.PackedBase
	}
	if r.conn.features&FeatureLogAll != 0 {
		cfg.BufferLog = r.conn.log
	}
	if r.logged {
		cfg.RingLog = r.conn.log
	}
	if r.features&virtq.FeaturePacked != 0 {
		cfg.Place = r.place()
	}
	err = guestmem.Guard(func() (err error) {
		q, err = virtq.New(cfg)
		return err
	})
	return q, err
}

func (r *Ring) start() error {
	r.features = r.conn.features &^ FeatureLogAll
	q, err := r.newQueue()
	if err != nil {
		return fmt.Errorf("start vring %d: %w", r.index, err)
	}
	r.lock()
	r.queue, r.err, r.sealed = q, nil, r.conn.mem.Sealed()
	r.mu.Unlock()
	if err := r.conn.srv.dev.StartRing(r); err != nil {
		r.retire()
		return fmt.Errorf("start vring %d: %w", r.index, err)
	}
	r.running = true
	return nil
}

// stop returns when nobody works the queue any more and the device has let go of the ring.
func (r *Ring) stop() {
	if !r.running {
		return
	}
	r.running = false
	r.retire()
	r.conn.srv.dev.StopRing(r)
}

// retire takes the queue out of use and remembers where it was.
func (r *Ring) retire() {
	r.lock()
	defer r.mu.Unlock()
	if r.queue != nil {
		r.keepBase()
		r.queue.Close()
		r.queue = nil
	}
}

// keepBase remembers where the queue is.
func (r *Ring) keepBase() { r.base, r.haveBase = r.queue.Base(), true }

// replace puts the queue on the addresses, the memory and the log that hold now, without the device noticing.
func (r *Ring) replace() error {
	if !r.running {
		return nil
	}
	r.lock()
	defer r.mu.Unlock()
	if r.queue == nil || r.err != nil {
		return nil
	}
	r.keepBase()
	q, err := r.newQueue()
	if err != nil {
		r.fail(err)
		return fmt.Errorf("move vring %d: %w", r.index, err)
	}
	r.queue.Close()
	r.queue, r.sealed = q, r.conn.mem.Sealed()
	return nil
}

// remap makes the queue use the memory that holds now. A ring that is not in it any more is broken until set up anew.
func (r *Ring) remap() {
	if !r.running {
		return
	}
	r.lock()
	defer r.mu.Unlock()
	if r.queue == nil || r.err != nil {
		return
	}
	if err := r.queue.Remap(); err != nil {
		r.fail(err)
	}
	r.sealed = r.conn.mem.Sealed()
}

// setFD replaces one of the ring's descriptors and closes the old one.
func (r *Ring) setFD(place *int, fd int) {
	r.lock()
	old := *place
	*place = fd
	r.mu.Unlock()
	if old >= 0 {
		_ = unix.Close(old)
	}
}

// close stops the ring and closes its descriptors.
func (r *Ring) close() {
	r.stop()
	r.dropKick()
	r.setFD(&r.call, -1)
	r.setFD(&r.errfd, -1)
}

// dropKick closes the kick descriptor of a ring that is not running.
func (r *Ring) dropKick() {
	r.haveKick = false
	if r.kick >= 0 {
		_ = unix.Close(r.kick)
	}
	r.kick = -1
}
