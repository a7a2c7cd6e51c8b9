package catalogue

import (
	"context"
	"encoding/json"

	"picolab/hostctl/lab"
	"picolab/hostctl/report"
)

// QMP runs a command of the guest's QEMU; out, when not nil, receives what it
// returns.  A refusal is an ERROR: QEMU is our tool, unless the case is about it
// and uses [Node.TryQMP].
func (n *Node) QMP(cmd string, args, out any) {
	if err := n.TryQMP(cmd, args, out); err != nil {
		n.t.stop(report.Error, n.name+": qmp "+cmd+": "+err.Error())
	}
}

// TryQMP is [Node.QMP] that returns QEMU's refusal.
func (n *Node) TryQMP(cmd string, args, out any) error {
	ctx, cancel := context.WithTimeout(n.t.Context(), n.t.Timeout(lab.WaitStart))
	defer cancel()
	n.t.step("qemu "+n.name, qmpCommand(cmd, args))
	return n.monitor().Run(ctx, cmd, args, out)
}

// Event waits for a QMP event whose data match accepts and returns its data; an
// event that does not come is a FAIL of the guest, which has to bring it about.
func (n *Node) Event(name string, match func(data map[string]any) bool) map[string]any {
	ctx, cancel := context.WithTimeout(n.t.Context(), n.t.Timeout(lab.WaitEvent))
	defer cancel()
	data, err := n.monitor().WaitEvent(ctx, name, match)
	if err != nil {
		n.t.Fatalf("%s: no %s event within %v: %v", n.name, name, n.t.Timeout(lab.WaitEvent), err)
	}
	return data
}

func (n *Node) monitor() Monitor {
	if n.machine == nil {
		n.t.specf("the host has no QMP monitor")
	}
	m := n.machine.Monitor()
	if m == nil {
		n.t.Errorf("%s: QEMU does not run", n.name)
	}
	return m
}

// NewEnd makes the host's end of a card that is plugged into a link at run time,
// and removes it when the instance ends.
func (t *T) NewEnd(link, model string) lab.End {
	end, remove, err := t.lab.NewEnd(link, Device(model))
	if err != nil {
		t.Errorf("host: %v", err)
	}
	t.Cleanup(func() {
		if err := remove(t.Context()); err != nil {
			t.Errorf("host: remove the end of a card on %s: %v", link, err)
		}
	})
	return end
}

// Slot returns QEMU's bus for the i-th card plugged in at run time.
func (n *Node) Slot(i int) string {
	bus := n.machine.Slot(i)
	if bus == "" {
		n.t.specf("guest %s has no spare slot %d", n.name, i)
	}
	return bus
}

// Args are the arguments of a QMP command.
type Args = map[string]any

// JSON returns v as one line, for evidence.
func JSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
