package vvsock

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"picolab/hostctl/vhostuser"
	"picolab/hostctl/vhostuser/virtq"
)

// What an epoll event is about, in its Fd field: a connection's slot, or one of these.
const (
	eventWake   = -1
	eventListen = -2
	eventKick   = -3 // less the ring's index
)

const (
	ringRX   = 0 // to the guest
	ringTX   = 1 // from the guest
	numRings = 2 // the event ring stays in QEMU

	batch      = 32 // chains taken at a time
	maxResets  = 2048
	firstPort  = 1 << 30 // host ports of host-initiated connections, as Firecracker numbers them
	pollEvents = 128
)

// loop moves all the bytes of a device, on one goroutine. Sockets are watched edge-triggered; nothing in it ever waits
// except epoll.
type loop struct {
	cfg    *Config
	epfd   int
	wakefd int
	listen int // the hybrid socket, -1 if there is none

	mu      sync.Mutex // held except while waiting; StartRing and StopRing take it, too
	rings   [numRings]*vhostuser.Ring
	broken  bool // a ring broke; nothing works until both are set up anew
	txReady bool // the TX ring may have packets
	rxEmpty bool // the RX ring was found empty, and a kick is to come
	rxMore  bool // the RX ring has been worked long enough for one round

	slots    []*conn // by slot, nil if free
	gens     []int32 // by slot, so that an old event does not meet a new connection
	freeSlot []int32
	conns    map[key]*conn
	opening  []*conn // in stateHandshake or stateRequested
	used     int     // slots in use
	clients  bool    // the hybrid socket may have a client to accept
	ready    readyQueue
	resets   queue[header] // for the guest, of connections that are no more
	nextPort uint32
	stats    Stats

	// Scratch space.
	chains [batch]virtq.Chain
	segs   [][]byte
	vec    vector
	write  writeBatch
	hdr    [headerSize]byte
	doTX   func(virtq.Queue) error
	doRX   func(virtq.Queue) error

	dialMu  sync.Mutex
	dials   queue[*conn] // waiting for the loop
	serving bool         // run is running
	closed  bool
}

func newLoop(cfg *Config, listen int) (*loop, error) {
	l := &loop{cfg: cfg, epfd: -1, wakefd: -1, listen: listen, conns: make(map[key]*conn), nextPort: firstPort}
	l.doTX, l.doRX = l.drainTX, l.fillRX
	var err error
	if l.epfd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("make epoll: %w", err)
	}
	if l.wakefd, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		l.closeFDs()
		return nil, fmt.Errorf("make eventfd: %w", err)
	}
	err = l.watch(l.wakefd, eventWake, 0)
	if err == nil && listen >= 0 {
		err = l.watch(listen, eventListen, 0)
	}
	if err != nil {
		l.closeFDs()
		return nil, err
	}
	return l, nil
}

// watch adds fd, edge-triggered. Eventfds then need no reading: each write is an edge.
func (l *loop) watch(fd int, what, gen int32) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET, Fd: what, Pad: gen}
	if err := unix.EpollCtl(l.epfd, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return fmt.Errorf("watch descriptor: %w", err)
	}
	return nil
}

func (l *loop) unwatch(fd int) { _ = unix.EpollCtl(l.epfd, unix.EPOLL_CTL_DEL, fd, nil) }

func (l *loop) wake() {
	one := [8]byte{1}
	_, _ = unix.Write(l.wakefd, one[:])
}

// run moves bytes until shutdown.
func (l *loop) run() {
	var events [pollEvents]unix.EpollEvent
	timeout := 0
	for {
		n, err := unix.EpollWait(l.epfd, events[:], timeout)
		if err != nil && err != unix.EINTR {
			panic(fmt.Sprintf("vvsock: epoll_wait: %v", err)) // only a bug of ours can cause it
		}
		l.mu.Lock()
		for i := range events[:max(n, 0)] {
			l.event(&events[i])
		}
		again := l.work()
		timeout = l.timeout(again)
		l.mu.Unlock()
		if l.isClosed() {
			return
		}
	}
}

func (l *loop) isClosed() bool {
	l.dialMu.Lock()
	defer l.dialMu.Unlock()
	return l.closed
}

func (l *loop) event(e *unix.EpollEvent) {
	switch {
	case e.Fd == eventKick-ringTX:
		l.txReady = true
	case e.Fd == eventKick-ringRX:
		l.rxEmpty = false
	case e.Fd == eventListen:
		l.clients = true
	case e.Fd >= 0 && l.gens[e.Fd] == e.Pad && l.slots[e.Fd] != nil:
		l.socketEvent(l.slots[e.Fd], e.Events)
	}
}

// work does one round and reports whether there is more to do at once.
func (l *loop) work() bool {
	l.expire()
	if l.running() && l.txReady {
		l.do(l.rings[ringTX], l.doTX)
	}
	l.acceptClients() // after what may have made room for them
	l.startDials()
	l.rxMore = false
	if l.running() && !l.rxEmpty && (l.ready.len() > 0 || l.resets.len() > 0) {
		l.do(l.rings[ringRX], l.doRX)
	}
	return l.running() && (l.txReady || l.rxMore)
}

// running reports whether both rings can be worked.
func (l *loop) running() bool {
	return l.rings[ringRX] != nil && l.rings[ringTX] != nil && !l.broken
}

// do works a ring. When it breaks, so do all connections.
func (l *loop) do(r *vhostuser.Ring, fn func(virtq.Queue) error) {
	if err := r.Do(fn); err != nil {
		if !errors.Is(err, vhostuser.ErrStopped) { // which stopRing is about to tell, too
			l.cfg.Logf("vsock cid %d: ring %d: %v", l.cfg.GuestCID, r.Index(), err)
		}
		l.broken = true
		l.closeGuest()
		l.wake() // for those who wait for room
	}
}

// timeout returns the milliseconds that epoll may wait.
func (l *loop) timeout(again bool) int {
	if again {
		return 0
	}
	next := time.Duration(math.MaxInt64)
	for _, c := range l.opening {
		next = min(next, time.Until(c.deadline))
	}
	if next == math.MaxInt64 {
		return -1
	}
	return int(max(0, next.Milliseconds()+1))
}

// startRing is called by the vhost-user server.
func (l *loop) startRing(r *vhostuser.Ring) error {
	if r.KickFD() < 0 {
		return fmt.Errorf("ring %d: polling without kicks is not supported", r.Index())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.watch(r.KickFD(), eventKick-int32(r.Index()), 0); err != nil {
		return err
	}
	l.rings[r.Index()] = r
	// Both are polled: a driver that has run with another back-end does not kick again.
	l.txReady, l.rxEmpty, l.broken = true, false, false
	l.wake()
	return nil
}

// stopRing is called by the vhost-user server. The guest is resetting, or gone: so are its connections.
func (l *loop) stopRing(r *vhostuser.Ring) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unwatch(r.KickFD())
	l.rings[r.Index()] = nil
	l.closeGuest()
	l.wake()
}

// start allows Dial. It comes just before run.
func (l *loop) start() {
	l.dialMu.Lock()
	l.serving = true
	l.dialMu.Unlock()
}

// shutdown ends run and everything else. The goroutine of run must not be waited for with mu held.
func (l *loop) shutdown() {
	l.dialMu.Lock()
	l.closed = true
	l.dialMu.Unlock()
	l.wake()
}

// release closes all that is open, after run has ended.
func (l *loop) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closeAll(ErrClosed)
	l.closeFDs()
}

func (l *loop) closeFDs() {
	for _, fd := range [...]*int{&l.epfd, &l.wakefd} {
		if *fd >= 0 {
			_ = unix.Close(*fd)
			*fd = -1
		}
	}
}
