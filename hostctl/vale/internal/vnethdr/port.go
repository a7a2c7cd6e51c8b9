package vnethdr

import (
	"golang.org/x/sys/unix"

	"picolab/hostctl/vale"
)

// Port is what ports on a descriptor of the kernel have in common whose frames begin with a header: all of a vale.Port but
// Receive and Offloads. The one that embeds it opens FD, without blocking.
type Port struct {
	FD      int
	Drained bool // the last look left nothing behind

	waker vale.Waker
	head  [Size]byte
	iov   [2][]byte
	skip  int // rounds left not to look
	quiet int // looks in vain in a row
}

// Start has the switch woken by frames that come.
func (p *Port) Start(w vale.Waker) error {
	p.waker = w
	return w.Watch(p.FD, unix.EPOLLIN)
}

// Close closes the descriptor.
func (p *Port) Close() error {
	if p.waker != nil {
		p.waker.Unwatch(p.FD)
	}
	return unix.Close(p.FD)
}

// Rest reports whether this round is one not to look in: each look is a system call.
func (p *Port) Rest() bool {
	if p.skip > 0 {
		p.skip--
		return true
	}
	return false
}

// Looked decides when to look again, after n frames came.
func (p *Port) Looked(n int) {
	if n > 0 {
		p.quiet = 0
		return
	}
	p.quiet++
	p.skip = min(p.quiet/4, 16)
}

// Arm is that of a vale.Port.
func (p *Port) Arm() (more bool) {
	p.skip, p.quiet = 0, 0
	return !p.Drained
}

// Send writes frames with their headers; what the kernel does not take is lost.
func (p *Port) Send(frames []vale.Frame) (n, bytes int) {
	for i := range frames {
		f := &frames[i]
		Put(&p.head, &f.Header)
		p.iov = [2][]byte{p.head[:], f.Data}
		if _, err := unix.Writev(p.FD, p.iov[:]); err == nil {
			n, bytes = n+1, bytes+len(f.Data)
		}
	}
	return n, bytes
}
