package catalogue

import (
	"context"
	"fmt"

	"picolab/hostctl/lab"
)

// Migrate moves the guest to another QEMU on this machine and checks that QEMU says it did. The agent answers again when it
// returns; what the case kept of the guest's cards but their addresses on the wire may be another's now.
func (n *Node) Migrate() lab.Moved {
	n.t.step("qemu "+n.name, qmpCommand("migrate", Args{"uri": "unix:" + n.name + ".move"}))
	spend := 8 * n.t.Timeout(lab.WaitTransfer)
	ctx, cancel := context.WithTimeout(n.t.Context(), spend)
	defer cancel()
	m, err := n.machine.Move(ctx)
	if err != nil {
		n.blame("migrate", err)
	}
	n.agent = n.machine.Agent() // the connection of before is lost
	status := m.Status
	if m.Error != "" {
		status += ": " + m.Error
	}
	if !n.t.Check("query-migrate of "+n.name, "completed", status, m.Status == "completed",
		fmt.Sprintf("%v in all, %v of it standing still, %d bytes; process %d to %d", m.Total, m.Downtime, m.Bytes, m.From, m.To)) {
		n.t.Fatalf("%s did not move: the rest is not tried", n.name)
	}
	return m
}
