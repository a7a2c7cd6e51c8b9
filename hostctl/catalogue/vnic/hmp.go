package vnic

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"picolab/hostctl/catalogue"
)

var hotplugHMP = catalogue.Case{
	ID:    "vnic.hotplug-hmp",
	Title: "Plug a card in and out by the monitor for people",
	Seed: catalogue.Seed{Doc: doc, Item: "1",
		Criterion: "(qemu) netdev_add tap,id=...,vhost=on; device_add virtio-net-pci,netdev=...,id=nic2,mac=62:56:00:94:a3:16; " +
			"netdev_del; device_del: it is gone",
		Note: "As vnic.hotplug-qmp, with the same lines typed at (qemu): QMP passes them on (human-monitor-command). What " +
			"this monitor refuses it says in words and not as an error. The document's own lines name a netdev that they " +
			"did not make and delete by names of shell variables; the ids here fit."},
	Where:    where,
	Topology: catalogue.OneGuest().OnBackends().OnMachines(),
	Matrix:   typedCards(),
	Needs:    needs,
	Params: catalogue.Params{
		Full: catalogue.Values{"mac": "62:56:00:94:a3:16", "interval": "1s", "count": "10", "time": "1m",
			"orders": "netdev-first device-first"},
		Quick: catalogue.Values{"interval": "10ms", "time": "1s"},
	},
	Steps: []string{
		"(qemu) netdev_add a tap, or a port of our switch, and device_add the card",
		"the guest has a link with the card's address; ping -c 10 through it loses nothing",
		"(qemu) netdev_del, then device_del: DEVICE_DELETED comes and the link is gone",
		"the same with device_del first and netdev_del after DEVICE_DELETED",
	},
	Run: func(t *catalogue.T) {
		guest := t.Guest("a")
		typed := func(line string) {
			if said := human(guest, line); said != "" {
				t.Errorf("(qemu) %s: %s", line, said)
			}
		}
		hotplug(t, monitor{
			do:     func(cmd string, args catalogue.Args) { typed(humanLine(cmd, args)) },
			socket: func(id, path string) { typed("chardev-add socket,id=" + id + ",path=" + path) },
		})
	},
}

// typedCards are the cards whose back-ends can be typed.
func typedCards() catalogue.Matrix {
	m := catalogue.Cards("off").Backends().Machines("q35").OnceEach()
	m.Exclusions = append(m.Exclusions, catalogue.Exclusion{
		When: []catalogue.Match{{Axis: "backend", In: []string{catalogue.Vale}},
			{Axis: "nic", In: []string{"e1000", "rtl8139", "e1000e", "igb", "vmxnet3"}}},
		Reason: "emulated cards join our switch by netdev stream, whose address this monitor cannot take: its options are flat",
	})
	return m
}

// human types a line at QEMU's monitor for people and returns what it says,
// which is nothing when a command that has nothing to show is done.
func human(guest *catalogue.Node, line string) string {
	var said string
	guest.QMP("human-monitor-command", catalogue.Args{"command-line": line}, &said)
	return strings.TrimSpace(said)
}

// humanLine is a command with QMP's arguments as the monitor for people has it:
// an id alone is what is deleted; else a type or driver is first, then key=value,
// where the key of what is inside of something else has a dot.
func humanLine(cmd string, args catalogue.Args) string {
	if id, ok := args["id"]; ok && len(args) == 1 {
		return fmt.Sprintf("%s %v", cmd, id)
	}
	first, words := flatten("", args)
	return cmd + " " + strings.Join(append(first, words...), ",")
}

// flatten returns the type or driver of arguments, and the others as key=value.
func flatten(prefix string, args catalogue.Args) (first, words []string) {
	for _, key := range slices.Sorted(maps.Keys(args)) {
		name := prefix + key
		switch value := args[key].(type) {
		case catalogue.Args:
			inner, more := flatten(name+".", value)
			first, words = append(first, inner...), append(words, more...)
		case bool:
			words = append(words, name+"="+map[bool]string{true: "on", false: "off"}[value])
		default:
			if name == "type" || name == "driver" {
				first = append(first, fmt.Sprint(value))
			} else {
				words = append(words, fmt.Sprintf("%s=%v", name, value))
			}
		}
	}
	return first, words
}
