package fake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"picolab/guestagent/wire"
	"picolab/hostctl/catalogue"
)

// The methods of catalogue.Machine.

func (n *node) Name() string               { return n.name }
func (n *node) Bare() bool                 { return n.spec.Boot != "" }
func (n *node) Agent() catalogue.Agent     { return n }
func (n *node) Monitor() catalogue.Monitor { return qmp{n} }
func (n *node) Cards() []catalogue.Card    { return slices.Clone(n.cards) }
func (n *node) Argv() []string             { return []string{"fake"} }

// Devices implements catalogue.Machine.
func (n *node) Devices() []string {
	on := func(c catalogue.NIC) bool { return c.Vhost == "on" }
	if n.lab.Faults.NoVhost || !slices.ContainsFunc(n.spec.NICs, on) {
		return []string{"/dev/net/tun"}
	}
	return []string{"/dev/net/tun", "/dev/vhost-net"}
}

func (n *node) Slot(i int) string {
	if i >= n.spec.Spare {
		return ""
	}
	return fmt.Sprintf("slot%d", i)
}

func (n *node) Findings() []catalogue.Finding {
	n.lab.mu.Lock()
	defer n.lab.mu.Unlock()
	return slices.Clone(n.findings)
}

// qmp is the fake monitor of a guest.
type qmp struct{ n *node }

// Run implements catalogue.Monitor.
func (q qmp) Run(ctx context.Context, cmd string, args, out any) error {
	q.n.lab.mu.Lock()
	defer q.n.lab.mu.Unlock()
	if q.n.lab.Faults.HungQEMU {
		return errors.New("qmp connection closed")
	}
	a, _ := args.(catalogue.Args)
	return q.command(ctx, cmd, a, out)
}

// command does what a command says; the lab is locked.
func (q qmp) command(ctx context.Context, cmd string, a catalogue.Args, out any) error {
	switch cmd {
	case "human-monitor-command":
		return q.human(ctx, a["command-line"].(string), out)
	case "query-version":
		return json.Unmarshal([]byte(`{"qemu": {"major": 10, "minor": 0, "micro": 2}}`), out)
	case "system_reset":
		return q.n.reset()
	case "system_wakeup":
		return q.n.wake()
	case "query-status":
		return q.status(out)
	case "set_link":
		return q.setLink(a["name"].(string), a["up"].(bool))
	case "query-rx-filter":
		return q.filter(out)
	case "stop", "cont", "netdev_add", "netdev_del", "chardev-add", "chardev-remove":
		return nil
	case "device_add":
		if !q.n.lab.Faults.NoHotplug {
			q.n.addCard(a["mac"].(string), "virtio", nil)
		}
		return nil
	case "device_del":
		return q.eject(a["id"].(string))
	}
	return errors.New("command not found")
}

// errRefused is QEMU's answer to what cannot be done now.
var errRefused = errors.New("refused")

func (q qmp) status(out any) error {
	status := "running"
	if q.n.power.asleep {
		status = "suspended"
	}
	return put(out, map[string]string{"status": status})
}

func (q qmp) setLink(name string, up bool) error {
	for i, c := range q.n.cards {
		if c.Device != name {
			continue
		}
		l := q.n.links[i]
		blind := q.n.noStatus[l.Name] && !q.n.lab.Faults.Talkative
		if !q.n.lab.Faults.Deaf && !blind {
			q.n.set(&q.n.dead, l.Name, !up)
		}
		q.n.state(l)
		return nil
	}
	return errors.New("device not found")
}

// filter answers query-rx-filter.
func (q qmp) filter(out any) error {
	mac := q.n.links[0].Mac
	if q.n.lab.Faults.KeepFilter {
		mac = q.n.cards[0].MAC
	}
	return put(out, []catalogue.RxFilter{{Name: "nic0", MainMAC: mac, Promiscuous: q.n.links[0].Promisc, Multicast: q.n.joined}})
}

// put makes v what QEMU returns.
func put(out, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, out)
}

// eject takes the last card out, with the two events QEMU sends for virtio.
func (q qmp) eject(id string) error {
	if len(q.n.links) <= len(q.n.cards) {
		return errors.New("device not found")
	}
	if q.n.lab.Faults.NoEject {
		return nil
	}
	last := q.n.links[len(q.n.links)-1]
	q.n.links = slices.DeleteFunc(q.n.links, func(l *wire.Link) bool { return l == last })
	q.n.tell("DEVICE_DELETED", map[string]any{"path": "/virtio"})
	q.n.tell("DEVICE_DELETED", map[string]any{"device": id})
	return nil
}

// event is what QEMU tells.
type event struct {
	name string
	data map[string]any
}

// tell has QEMU send an event.
func (n *node) tell(name string, data map[string]any) {
	n.events = append(n.events, event{name, data})
	close(n.heard)
	n.heard = make(chan struct{})
}

// WaitEvent implements catalogue.Monitor.
func (q qmp) WaitEvent(ctx context.Context, name string, match func(map[string]any) bool) (map[string]any, error) {
	for {
		data, heard, ok := q.claim(name, match)
		if ok {
			return data, nil
		}
		select {
		case <-heard:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// claim takes an event that has come, or says what is closed when another does.
func (q qmp) claim(name string, match func(map[string]any) bool) (data map[string]any, heard <-chan struct{}, ok bool) {
	q.n.lab.mu.Lock()
	defer q.n.lab.mu.Unlock()
	for i, e := range q.n.events {
		if e.name == name && (match == nil || match(e.data)) {
			q.n.events = slices.Delete(q.n.events, i, i+1)
			return e.data, nil, true
		}
	}
	return nil, q.n.heard, false
}

var _ catalogue.Machine = (*node)(nil)
