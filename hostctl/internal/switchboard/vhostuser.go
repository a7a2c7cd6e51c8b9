package switchboard

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"picolab/hostctl/vale"
	"picolab/hostctl/vhostuser"
	"picolab/hostctl/vhostuser/vnet"
)

const (
	burst = 64              // frames taken from a guest at once
	room  = 64 * (1024 + 3) // bytes for each: more than vnet.MaxFrame, and not a multiple of what the cache's sets repeat by
)

// VhostUserOptions are for VhostUser.
type VhostUserOptions struct {
	Pairs  int  // queue pairs, 0 means 1
	Client bool // connect to the front-end, again and again, instead of listening
	Server vhostuser.Options
}

// VhostUser returns a port for a guest's virtio-net, whose front-end connects to the socket path, or listens there. The
// socket exists on return; it is served from Attach to Close. The guest may come, go, and come back.
func VhostUser(path string, opt VhostUserOptions) (vale.Port, error) {
	return newGuest(opt, func(dev vhostuser.Device) (*vhostuser.Server, error) {
		if opt.Client {
			return vhostuser.Dial(path, dev, opt.Server), nil
		}
		return vhostuser.Listen(path, dev, opt.Server)
	})
}

// VhostUserFD is VhostUser on a socket that is open already, listening or connected. It is the port's from now on.
func VhostUserFD(fd int, opt VhostUserOptions) (vale.Port, error) {
	return newGuest(opt, func(dev vhostuser.Device) (*vhostuser.Server, error) {
		return vhostuser.FromFD(fd, dev, opt.Server)
	})
}

func newGuest(opt VhostUserOptions, serve func(vhostuser.Device) (*vhostuser.Server, error)) (vale.Port, error) {
	g := &guest{pairs: max(opt.Pairs, 1)}
	var err error
	if g.port, err = vnet.New(g.pairs, events{g}); err == nil {
		g.server, err = serve(g.port.Device())
	}
	if err != nil {
		return nil, fmt.Errorf("vhost-user port: %w", err)
	}
	g.kicks, g.lists = make([]int, g.pairs), make([][]vale.Frame, g.pairs)
	return g, nil
}

// guest is a vale.Port over a vnet.Port.
type guest struct {
	port   *vnet.Port
	server *vhostuser.Server
	served sync.WaitGroup
	waker  vale.Waker
	pairs  int

	kicks []int // of the pairs that are up, the server's goroutine's
	up    atomic.Uint32
	poll  atomic.Int32 // pairs without a kick descriptor

	// The switch's:
	next  int // pair to look at first
	lent  int // pair whose frames the switch has
	lists [][]vale.Frame
}

func (g *guest) Start(w vale.Waker) error {
	g.waker = w
	g.served.Go(func() { _ = g.server.Serve(context.Background()) })
	return nil
}

func (g *guest) Close() error {
	err := g.server.Close()
	g.served.Wait()
	if err != nil {
		return fmt.Errorf("close vhost-user port: %w", err)
	}
	return nil
}

// events keeps the methods of vnet.Events out of guest's.
type events struct{ *guest }

func (e events) Up(pair, kick int) {
	e.kicks[pair] = kick
	if kick < 0 || e.waker.Watch(kick, unix.EPOLLIN) != nil {
		e.kicks[pair] = -1
		e.poll.Add(1)
	}
	e.up.Add(1)
	e.waker.Wake()
}

func (e events) Down(pair int) {
	e.up.Add(^uint32(0))
	if e.kicks[pair] < 0 {
		e.poll.Add(-1)
		return
	}
	e.waker.Unwatch(e.kicks[pair])
}

// Receive borrows a burst from the next pair that has one.
func (g *guest) Receive(frames []vale.Frame) (int, error) {
	if g.up.Load() == 0 {
		return 0, nil
	}
	for range g.pairs {
		pair := g.next
		if g.next++; g.next == g.pairs {
			g.next = 0
		}
		if n, err := g.port.Borrow(pair, asVnet(frames)); n > 0 && err == nil {
			g.lent = pair
			return n, nil
		}
	}
	return 0, nil
}

// Return implements vale.Lender.
func (g *guest) Return() { g.port.Return(g.lent) }

// Send spreads flows over the pairs that are up, which are the first ones in every driver that is known.
func (g *guest) Send(frames []vale.Frame) (n, bytes int) {
	pairs := min(g.up.Load(), uint32(g.pairs))
	if pairs <= 1 {
		return g.put(0, frames)
	}
	for i := range frames {
		p := flow(frames[i].Data) % pairs
		g.lists[p] = append(g.lists[p], frames[i])
	}
	for p, list := range g.lists {
		if len(list) > 0 {
			k, b := g.put(p, list)
			n, bytes, g.lists[p] = n+k, bytes+b, list[:0]
		}
	}
	return n, bytes
}

func (g *guest) put(pair int, frames []vale.Frame) (n, bytes int) {
	before := g.port.Stats().ToBytes
	n = g.port.Put(pair, asVnet(frames))
	return n, int(g.port.Stats().ToBytes - before)
}

// probes are headers that stand for an offload each.
var probes = [...]struct {
	what   vale.Offloads
	header vnet.Header
}{
	{vale.Csum, vnet.Header{Flags: vnet.NeedsCsum}},
	{vale.TSO4, vnet.Header{Flags: vnet.NeedsCsum, GSOType: vnet.GSOTCPv4}},
	{vale.TSO6, vnet.Header{Flags: vnet.NeedsCsum, GSOType: vnet.GSOTCPv6}},
	{vale.ECN, vnet.Header{Flags: vnet.NeedsCsum, GSOType: vnet.GSOTCPv4 | vnet.GSOECN}},
	{vale.USO, vnet.Header{Flags: vnet.NeedsCsum, GSOType: vnet.GSOUDP}},
}

func (g *guest) Offloads() (all vale.Offloads) {
	for _, p := range probes {
		if g.port.Accepts(0, p.header) {
			all |= p.what
		}
	}
	return all
}

// pollEvery is how often a guest is looked at that cannot wake us.
const pollEvery = time.Millisecond

func (g *guest) Arm() (more bool) {
	if g.poll.Load() > 0 {
		g.waker.WakeAfter(pollEvery)
	}
	for pair := range g.pairs {
		more = g.port.Arm(pair) || more
	}
	return more
}
