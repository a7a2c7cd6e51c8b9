package pktgen

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Port is an open network port.
type Port interface {
	// Kind says what carries the frames, "AF_XDP".
	Kind() string
	// Hardware is the port's own Ethernet address; zero when it has none.
	Hardware() [6]byte
	// Queues are what threads send to and receive from.
	Queues() []Queue
	// Close gives everything back. It must not be called while a queue is in use.
	Close() error
}

// Queue is one thread's way to a port. Only one goroutine may use it at a time.
//
// Sending is a transaction: Reserve, fill and cut the frames, Send. So is receiving: Receive, look, Release. An error
// ends the queue, net.ErrClosed or ENETDOWN when the link under it is gone.
type Queue interface {
	// Reserve sets frames to empty buffers, each as long as the port can send, and returns how many it set, 0 when
	// the queue is full. They belong to the caller until Send.
	Reserve(frames [][]byte) (int, error)
	// Send takes the first frames of the last Reserve, each cut to its length, and sends what it can of them. What it
	// cannot send yet stays with the queue, which then has no room until it went out.
	Send(frames [][]byte) error
	// Flush sends what can be sent, without waiting, and returns how many frames have not left yet.
	Flush() (pending int, err error)
	// Receive sets frames to those that came and returns how many. They are valid until Release.
	Receive(frames [][]byte) (int, error)
	// Release gives the frames of the last Receive back.
	Release() error
	// Descriptor is what poll(2) waits on for frames (POLLIN) or room (POLLOUT); -1 when the port must be asked.
	Descriptor() int
}

// Dropper is a Queue that knows how many frames came and were dropped before Receive, for want of room.
type Dropper interface{ Dropped() (uint64, error) }

// Loser is a Queue that knows how many frames it took the driver then dropped; they count as not sent.
type Loser interface{ Lost() uint64 }

// Checker is a Queue that can tell, when nothing happens, whether its link is still there and up.
type Checker interface{ Check() error }

// Use is what a port is opened for.
type Use struct {
	Send, Receive bool
	Queues        int // threads that will use it; 0 counts as 1
	Size          int // of the longest frame to be sent, in bytes without the CRC; 0 is what the link takes
}

// Opener opens a port by the part of its name behind the scheme.
type Opener func(ctx context.Context, name string, use Use) (Port, error)

// Ports are the schemes of port names. The one named "" opens names without any.
type Ports map[string]Opener

// Open opens the port that name tells: "scheme:rest" where the scheme is known, "vale0:01" by the scheme "vale", a name
// that starts with "tap" by "tap" as in the original, and anything else as a network interface.
func (p Ports) Open(ctx context.Context, name string, use Use) (Port, error) {
	scheme, rest := p.split(name)
	open, ok := p[scheme]
	if !ok {
		return nil, fmt.Errorf("open port %s: no such kind of port (there are %s)", name, strings.Join(p.names(), ", "))
	}
	if rest == "" {
		return nil, fmt.Errorf("open port %s: %w", name, errors.New("no name behind the colon"))
	}
	use.Queues = max(use.Queues, 1)
	port, err := open(ctx, rest, use)
	if err != nil {
		return nil, fmt.Errorf("open port %s: %w", name, err)
	}
	return port, nil
}

// split finds the scheme of a name and what is left for its opener.
func (p Ports) split(name string) (scheme, rest string) {
	prefix, rest, found := strings.Cut(name, ":")
	switch {
	case found && strings.HasPrefix(name, "vale"):
		return "vale", name
	case found && p[prefix] != nil, found && schemeLike(prefix):
		return prefix, rest
	case !found && strings.HasPrefix(name, "tap") && p["tap"] != nil:
		return "tap", name
	}
	return "", name
}

// schemeLike keeps "eth0:1", an interface's name, from being taken for a scheme.
func schemeLike(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r < 'a' || r > 'z' })
}

func (p Ports) names() []string {
	var out []string
	for scheme := range p {
		if scheme != "" {
			out = append(out, scheme+":")
		}
	}
	slices.Sort(out)
	return out
}

// Buffers makes n buffers of size bytes for a Queue. They are apart by no power of two, which would have them share few
// sets of the caches.
func Buffers(n, size int) [][]byte {
	stride := (size+63)&^63 + 64
	memory := make([]byte, n*stride)
	out := make([][]byte, n)
	for i := range out {
		out[i] = memory[i*stride : i*stride+size : i*stride+size]
	}
	return out
}
