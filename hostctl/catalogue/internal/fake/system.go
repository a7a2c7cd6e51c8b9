package fake

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"picolab/guestagent/wire"
	"picolab/hostctl/catalogue"
	"picolab/hostctl/lab"
)

// firstIRQ is the number of the first receive queue's interrupt.
const firstIRQ = 42

// system returns a file of the kernel that is about no link.
func (n *node) system(path string) (string, bool) {
	var irq int
	switch {
	case path == "/proc/sys/kernel/random/boot_id":
		boot := n.power.life
		if n.lab.Faults.Reborn {
			boot += n.moves
		}
		return fmt.Sprintf("00000000-0000-4000-8000-%012d\n", boot), true
	case path == "/sys/bus/virtio/devices/virtio0/device":
		return "0x0013\n", true
	case path == "/sys/bus/virtio/devices/virtio1/device":
		return "0x0001\n", true
	case path == "/proc/interrupts":
		return n.interrupts(), true
	case path == "/sys/module/vhost_net/parameters/experimental_zcopytx":
		_, value, _ := strings.Cut(n.lab.params["vhost_net"], "=")
		return value + "\n", true
	}
	if _, err := fmt.Sscanf(path, "/proc/irq/%d/affinity_hint", &irq); err == nil {
		if n.lab.Faults.OneHint {
			irq = firstIRQ
		}
		return fmt.Sprintf("%02x\n", 1<<(irq-firstIRQ)), true
	}
	return "", false
}

// queues is how many pairs of queues the guest's first card has.
func (n *node) queues() int {
	if n.lab.Faults.FewQueues {
		return n.spec.NICs[0].Queues - 1
	}
	return n.spec.NICs[0].Queues
}

// interrupts are those of the guest's first card.
func (n *node) interrupts() string {
	const line = " %d:          0          1          0          0 PCI-MSIX-0000:00:04.0   1-edge      virtio1-%s\n"
	var b strings.Builder
	fmt.Fprintln(&b, " 40:          0          1          0          0 PCI-MSIX-0000:00:03.0   1-edge      virtio0-virtqueues") // of another device
	fmt.Fprintf(&b, line, firstIRQ-1, "config")
	if !slices.Contains(n.spec.NICs[0].Options, "vectors=9") && !n.lab.Faults.OwnIRQs {
		fmt.Fprintf(&b, line, firstIRQ, "virtqueues")
		return b.String()
	}
	for i := range n.queues() {
		fmt.Fprintf(&b, line, firstIRQ+i, fmt.Sprintf("input.%d", i))
	}
	return b.String()
}

// Channels implements catalogue.Agent.
func (n *node) Channels(_ context.Context, link string) (*wire.ChannelsReply, error) {
	n.lab.mu.Lock()
	defer n.lab.mu.Unlock()
	_, err := n.find(link)
	return &wire.ChannelsReply{Combined: uint32(n.queues()), MaxCombined: uint32(n.queues())}, err
}

// SetCombined implements catalogue.Agent.
func (n *node) SetCombined(ctx context.Context, link string, pairs int) (*wire.ChannelsReply, error) {
	return n.Channels(ctx, link)
}

// Move implements catalogue.Machine.
func (n *node) Move(context.Context) (lab.Moved, error) {
	n.lab.mu.Lock()
	defer n.lab.mu.Unlock()
	if n.lab.Faults.NoMove {
		return lab.Moved{Status: "failed", Error: "load of migration failed"}, nil
	}
	n.moves++
	return lab.Moved{Status: "completed", Total: time.Second, Downtime: time.Millisecond, Bytes: 1 << 20, From: 1, To: 2}, nil
}

// Reconnect implements catalogue.Machine.
func (n *node) Reconnect(ctx context.Context) error { return n.silence(ctx) }

// Outside implements catalogue.Booted.
func (l *Lab) Outside(context.Context, string) (catalogue.Outside, error) {
	return catalogue.Outside{Agent: &node{lab: l, name: "outside"}, Addr: netip.MustParsePrefix("10.77.0.250/24"),
		Close: func(context.Context) error { return nil }}, nil
}

// silence waits as long as whoever asks does, when the guest is hung.
func (n *node) silence(ctx context.Context) error {
	if n == n.lab.host || !n.lab.Faults.Hung && !n.lab.Faults.HungQEMU {
		return nil
	}
	<-ctx.Done()
	return wire.Classify(ctx.Err())
}
