package lab

import (
	"context"
	"fmt"

	"picolab/hostctl/internal/netdev"
)

// An End is where QEMU finds the host's end of a NIC that is plugged in at run time.
type End struct {
	Tap    string // of a bridge
	Socket string // of a switch
	Rings  bool   // Socket is for the rings of a virtio card, by vhost-user; else for frames, by netdev stream
}

// NewEnd makes one more end on a link, for a NIC of a model with one queue pair. It goes with the lab, or when remove is
// called, before or after QEMU has let go of it.
func (l *Lab) NewEnd(link, model string) (e End, remove func(context.Context) error, err error) {
	n := l.Link(link)
	if n == nil {
		return End{}, nil, &SpecError{Problems: []string{fmt.Sprintf("no link is called %q", link)}}
	}
	l.mu.Lock()
	l.ends++
	name := fmt.Sprintf("hot%d", l.ends)
	l.mu.Unlock()
	nic := NIC{Model: model, Link: link, Backend: BackendTap, Queues: 1}
	if n.sw == nil {
		e.Tap, remove, err = name, func(context.Context) error { return netdev.Delete(name) }, plugTap(name, n)
	} else {
		nic.Backend = BackendVale
		e.Rings, remove = nic.vhostUser(), func(context.Context) error { return n.sw.Detach(name) }
		e.Socket, err = l.attach(name, nic)
	}
	if err != nil {
		return End{}, nil, infra("make end on link %s: %w", link, err)
	}
	return e, remove, nil
}

// plugTap makes a tap on a bridge.
func plugTap(name string, n *Network) error {
	if err := netdev.CreateTap(netdev.Tap{Name: name, Queues: 1, Owner: -1, Master: n.bridge, MTU: n.spec.MTU}); err != nil {
		return err
	}
	return netdev.Up(name)
}
