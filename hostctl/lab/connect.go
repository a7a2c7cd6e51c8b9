package lab

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"picolab/guestagent/client"
)

// What QEMU's user network expects of its guest (qemu(1), -netdev user).
var (
	userAddr   = netip.MustParsePrefix("10.0.2.15/24")
	userRouter = netip.MustParseAddr("10.0.2.2")
)

// Connect takes the guest's cards up and gives them their addresses: those of their links, see Addr, and behind backend
// user the one that QEMU's network is for, with a route to everywhere. It waits for their carriers: cards that negotiate
// take seconds, longer than an address is asked for. Errors are *GuestError.
func (v *VM) Connect(ctx context.Context) error {
	if v.spec.Bare() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, v.lab.Timeout(WaitTransfer))
	defer cancel()
	for i := range v.spec.NICs {
		if err := v.connect(ctx, i, v.Addr(i)); err != nil {
			return v.blame(fmt.Errorf("connect %s: %w", v.spec.NICs[i].Model, err))
		}
	}
	for i := range v.spec.NICs {
		if err := v.awaitCarrier(ctx, i); err != nil {
			return v.blame(fmt.Errorf("wait for the carrier of %s: %w", v.spec.NICs[i].Model, err))
		}
	}
	return nil
}

func (v *VM) connect(ctx context.Context, i int, addr netip.Prefix) error {
	agent := v.Agent()
	link, err := agent.LinkByMAC(ctx, v.MAC(i), v.lab.Timeout(WaitDriver))
	if err != nil {
		return err
	}
	if err := agent.LinkUp(ctx, link.GetName()); err != nil {
		return err
	}
	if addr.IsValid() {
		return agent.AddAddr(ctx, link.GetName(), addr)
	}
	if v.spec.NICs[i].Backend != BackendUser {
		return nil
	}
	if err := agent.AddAddr(ctx, link.GetName(), userAddr); err != nil {
		return err
	}
	return agent.AddRoute(ctx, client.Route{Gateway: userRouter, Link: link.GetName()})
}

// awaitCarrier waits until a card has a carrier and lets packets out, which is told later (Linux, net/core/link_watch.c).
// One that never does is only told of: the guest can be reached without it.
func (v *VM) awaitCarrier(ctx context.Context, i int) error {
	limit := v.lab.Timeout(WaitDriver)
	v.lab.logf("waiting up to %v for the carrier of %s's %s", limit, v.spec.Name, v.spec.NICs[i].Model)
	for end := time.Now().Add(limit); ; time.Sleep(carrierPoll) {
		link, err := v.Agent().LinkByMAC(ctx, v.MAC(i), v.lab.Timeout(WaitLink))
		if err != nil {
			return err
		}
		if link.GetCarrier() && link.GetOperstate() != "down" {
			return nil
		}
		if time.Now().After(end) {
			v.lab.logf("%s's %s has no carrier after %v", v.spec.Name, v.spec.NICs[i].Model, limit)
			return nil
		}
	}
}

const carrierPoll = 20 * time.Millisecond
