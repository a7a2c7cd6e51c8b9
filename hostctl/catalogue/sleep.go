package catalogue

import (
	"context"
	"sync"

	"picolab/hostctl/lab"
)

// Sleep suspends a guest to RAM (S3), has while done when QEMU says that it sleeps, wakes it up with system_wakeup and
// waits for its agent.  A guest that does not fall asleep or does not wake up is a FAIL.
func (n *Node) Sleep(while func()) {
	n.did("echo mem > /sys/power/state")
	n.untilAsleep()
	while()
	n.QMP("system_wakeup", nil, nil)
	n.Event("WAKEUP", nil)
	n.again("wake up", n.machine.Reconnect)
}

// untilAsleep asks the agent, which cannot answer before the guest is awake again, and waits for what QEMU says.
func (n *Node) untilAsleep() {
	ctx, cancel := context.WithTimeout(n.t.Context(), n.t.Timeout(lab.WaitShutdown))
	defer cancel()
	ctx, answered := context.WithCancelCause(ctx)
	var call sync.WaitGroup
	agent := n.agent
	call.Go(func() {
		if err := agent.Power(ctx, "suspend"); err != nil { // the connection that the sleep ends is none
			answered(err)
		}
	})
	_, err := n.monitor().WaitEvent(ctx, "SUSPEND", nil)
	answered(nil)
	call.Wait()
	if err != nil {
		n.t.Fatalf("%s: did not fall asleep: %v", n.name, err)
	}
}

// Hibernate suspends a guest to its swap disk (S4) and waits until it is off.
func (n *Node) Hibernate() {
	n.did("echo disk > /sys/power/state")
	n.live("suspend to disk", n.machine.Hibernate)
}

// Resume powers a guest up that is suspended to disk, and waits for its agent: that of the same life, or of a new one
// when the guest has lost its memory.
func (n *Node) Resume() {
	n.t.step("host", "start the same QEMU again")
	n.again("resume", n.machine.Resume)
}

// again waits for the guest's next connection and goes on with that.
func (n *Node) again(what string, fn func(context.Context) error) {
	n.live(what, fn)
	n.agent = n.machine.Agent()
}

// live does what changes a guest's state.  The lab has its own time for that.
func (n *Node) live(what string, fn func(context.Context) error) {
	if err := fn(n.t.Context()); err != nil {
		n.blame(what, err)
	}
}
