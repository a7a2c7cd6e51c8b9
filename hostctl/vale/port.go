package vale

import "time"

// Port is what a switch is between. The switch calls Receive, Send, Offloads and Arm from one goroutine, one at a time, and
// none of them may wait. Other methods of a port may run meanwhile. A port whose Receive fails, or that panics, is detached
// and closed, without harm to the others.
type Port interface {
	// Start is the first call. w is for the port's use until Close returns.
	Start(w Waker) error

	// Receive fills frames, at most MaxBatch, with what has come in and returns how many there are. The memory of the
	// frames is the port's, which must leave it alone until the next Receive or Close. It must be such as does not go away:
	// a port whose peer can take its memory back has to copy. Frames may hold anything; the switch looks at nothing but
	// addresses and header. An error ends the port.
	Receive(frames []Frame) (n int, err error)

	// Send takes frames, at most MaxBatch, in order, copying what it needs, and returns how many it took and their bytes.
	// Those it has no room for are dropped, which the switch counts. All the frames of one call should be told to the peer
	// at once.
	Send(frames []Frame) (n, bytes int)

	// Offloads returns the headers that Send takes now. Other frames are completed before.
	Offloads() Offloads

	// Arm is called before the switch goes to sleep: from now on the port must wake it when frames arrive, by the
	// descriptors it Watches or by Wake. It returns whether there is something for Receive already, for which nothing may
	// wake it.
	Arm() (more bool)

	// Close is the last call; it comes from another goroutine and may wait.
	Close() error
}

// Lender is a Port whose frames lie in memory that it cannot spare for long. It must be such as does not go away, as of every
// port, but may change: the switch may give away something else than it has looked at.
type Lender interface {
	// Return is called once the frames of a Receive were given away: before anything else of the port is called.
	Return()
}

// Waker is what a port uses to end the switch's sleep. Its methods may be called from any goroutine, if not said otherwise, and do not
// wait for the switch.
type Waker interface {
	// Watch makes the switch wake up when one of the epoll(7) events arrives at fd, edge-triggered. The descriptor must be
	// neither read nor changed by that. It has to be Unwatched before it is closed.
	Watch(fd int, events uint32) error
	Unwatch(fd int)
	// Wake wakes the switch up. It costs next to nothing while the switch is awake.
	Wake()
	// WakeAfter makes the switch call Receive once d has passed. It holds until the next call of Receive, and may be called
	// only from inside the port's Receive, Send and Arm.
	WakeAfter(d time.Duration)
}
