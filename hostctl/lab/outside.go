package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"picolab/guestagent/client"
	"picolab/hostctl/internal/netdev"
	"picolab/hostctl/vale/packet"
)

// An Outside is a host beside the lab's own: a network namespace that reaches a link through a bridge in between, as
// another machine does through its cable and a switch.
type Outside struct {
	Agent *client.Client
	Addr  netip.Prefix // on the link; invalid when that has no addresses

	name string // of its link, and the beginning of all other names
	undo stack
}

// NewOutside makes a host outside and gives it the address behind those of the link's guests. It goes with Close, or with
// the lab.
func (l *Lab) NewOutside(ctx context.Context, link string) (*Outside, error) {
	n := l.Link(link)
	if n == nil {
		return nil, &SpecError{Problems: []string{fmt.Sprintf("no link is called %q", link)}}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.outsides++
	o := &Outside{Addr: n.outsideAddr(), name: fmt.Sprintf("out%d", l.outsides)}
	if err := o.make(ctx, l, n); err != nil {
		return nil, infra("make a host outside of link %s: %w", link, errors.Join(err, o.Close(context.WithoutCancel(ctx))))
	}
	l.undo.push("close host "+o.name, o.Close)
	return o, nil
}

// Close ends the host and takes its links away; a second time it does nothing.
func (o *Outside) Close(ctx context.Context) error { return o.undo.run(ctx) }

// make puts it together from the link outwards, so that nothing is up before all is there.
func (o *Outside) make(ctx context.Context, l *Lab, n *Network) error {
	if err := o.makeUplink(n); err != nil {
		return err
	}
	agent, p, err := l.hostAgent(ctx, &o.undo, unix.CLONE_NEWNET)
	if err != nil {
		return err
	}
	o.Agent = agent
	if err := o.makeWire(n, p.Pid()); err != nil {
		return err
	}
	up := true
	if err := agent.SetLink(ctx, o.name, client.LinkChange{Up: &up}); err != nil {
		return err
	}
	if !o.Addr.IsValid() {
		return nil
	}
	return agent.AddAddr(ctx, o.name, o.Addr)
}

func (o *Outside) bridge() string { return o.name + "br" }

// makeUplink makes the bridge in between and its connection to the link.
func (o *Outside) makeUplink(n *Network) error {
	if err := netdev.CreateBridge(netdev.Bridge{Name: o.bridge(), MTU: n.spec.MTU}); err != nil {
		return err
	}
	o.deletes(o.bridge())
	near, far := o.name+"near", o.name+"far"
	if err := netdev.CreateVeth(near, far); err != nil {
		return err
	}
	o.deletes(near)
	if err := o.join(n, near); err != nil {
		return err
	}
	return errors.Join(ready(n.spec.MTU, near, far, o.bridge()), netdev.SetMaster(far, o.bridge()))
}

// join puts an end of a veth pair on the link.
func (o *Outside) join(n *Network, end string) error {
	if n.sw == nil {
		return netdev.SetMaster(end, n.bridge)
	}
	port, err := packet.New(end)
	if err != nil {
		return err
	}
	if err := n.sw.Attach(o.name, port); err != nil {
		return errors.Join(err, port.Close())
	}
	o.undo.push("detach "+o.name, func(context.Context) error { return n.sw.Detach(o.name) })
	return nil
}

// makeWire connects the namespace of a process to the bridge.
func (o *Outside) makeWire(n *Network, pid int) error {
	port := o.name + "port"
	if err := netdev.CreateVeth(o.name, port); err != nil {
		return err
	}
	o.deletes(port) // and with it the other end, wherever it is
	if err := netdev.SetMTU(o.name, n.spec.MTU); err != nil {
		return err
	}
	if err := netdev.Move(o.name, pid); err != nil {
		return err
	}
	return errors.Join(ready(n.spec.MTU, port), netdev.SetMaster(port, o.bridge()))
}

func (o *Outside) deletes(link string) {
	o.undo.push("delete "+link, func(context.Context) error { return netdev.Delete(link) })
}

// ready sets the MTU of links and takes them up.
func ready(mtu int, links ...string) error {
	for _, name := range links {
		if err := errors.Join(netdev.SetMTU(name, mtu), netdev.Up(name)); err != nil {
			return err
		}
	}
	return nil
}
