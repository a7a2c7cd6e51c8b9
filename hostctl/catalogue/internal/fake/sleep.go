package fake

import (
	"context"

	"picolab/guestagent/wire"
)

// power is whether a guest sleeps, and who is told when it wakes up.
type power struct {
	asleep bool
	woken  chan struct{}
	life   int // how often it has lost its memory
}

// Power implements catalogue.Agent for sleep.
func (n *node) Power(ctx context.Context, action string) error {
	if action != "suspend" {
		return nil
	}
	n.lab.mu.Lock()
	if n.lab.Faults.Sleepless {
		n.lab.mu.Unlock()
		return wire.Errorf(wire.Code_GUEST, "suspend to mem: device or resource busy")
	}
	n.power.asleep, n.power.woken = true, make(chan struct{})
	n.tell("SUSPEND", nil)
	woken := n.power.woken
	n.lab.mu.Unlock()
	select {
	case <-woken:
	case <-ctx.Done():
	}
	return nil
}

// wake is system_wakeup.
func (n *node) wake() error {
	if !n.power.asleep {
		return errRefused
	}
	if n.lab.Faults.Coma {
		return nil
	}
	n.power.asleep = false
	close(n.power.woken)
	n.tell("WAKEUP", nil)
	n.awake()
	return nil
}

// awake is what a sleep does where all is not well.
func (n *node) awake() {
	if n.lab.Faults.Forgotten {
		n.power.life++
	}
	for _, l := range n.links {
		if n.lab.Faults.Numb {
			n.set(&n.dead, l.Name, true)
		}
		if n.lab.Faults.Amnesia {
			l.Addresses = nil
		}
	}
}

// Hibernate implements catalogue.Machine.
func (n *node) Hibernate(context.Context) error {
	if n.lab.Faults.Sleepless {
		return wire.Errorf(wire.Code_GUEST, "suspend to disk: no space left on device")
	}
	return nil
}

// Resume implements catalogue.Machine.
func (n *node) Resume(context.Context) error {
	n.lab.mu.Lock()
	defer n.lab.mu.Unlock()
	n.awake()
	return nil
}
