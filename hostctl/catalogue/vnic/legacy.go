package vnic

import (
	"fmt"
	"strings"

	"picolab/hostctl/catalogue"
)

var hotplugLegacy = catalogue.Case{
	ID:    "vnic.hotplug-legacy",
	Title: "The commands by which RHEL 4 and 5 plugged cards are gone from QEMU",
	Seed: catalogue.Seed{Doc: doc, Item: "1 (rhel4/5)",
		Criterion: "modprobe acpiphp; (qemu) host_net_add tap,...; pci_add pci_addr=auto nic,...; host_net_remove; pci_del pci_addr=05",
		Note: "Never to run again: host_net_add and host_net_remove left QEMU with 2.12, pci_add and pci_del before that; " +
			"netdev_add and device_add, which vnic.hotplug-hmp has, took their place. The case types each and is a SKIP when " +
			"QEMU knows none of them; one that it knew would be a FAIL, as the case would have to be written. acpiphp is " +
			"built into today's kernels."},
	Where:    where,
	Topology: catalogue.OneGuest().OnBackends(),
	Matrix:   catalogue.VirtioOnly("the commands are the monitor's, whatever the card is").Backends(),
	Needs:    needs,
	Params: catalogue.Params{Full: catalogue.Values{
		"host_net_add":    "tap vlan=0,script=/etc/qemu-ifup,downscript=no,sndbuf=0",
		"pci_add":         "pci_addr=auto nic vlan=0,model=virtio,macaddr=08:2E:5F:0A:0D:1A",
		"host_net_remove": "0 tap.0",
		"pci_del":         "pci_addr=05",
	}},
	Steps: []string{
		"(qemu) host_net_add a tap, pci_add the card, host_net_remove, pci_del",
		"QEMU says of each that it does not know the command: nothing can be tested",
	},
	Run: func(t *catalogue.T) {
		guest := t.Guest("a")
		var refused []string
		for _, cmd := range []string{"host_net_add", "pci_add", "host_net_remove", "pci_del"} {
			said := human(guest, cmd+" "+t.Param(cmd))
			if t.Check("(qemu) "+cmd, "unknown command", said, strings.Contains(said, "unknown command"), "") {
				refused = append(refused, said)
			}
		}
		t.Skipf("%s has not had the commands for years: %s", version(guest), strings.Join(refused, "; "))
	},
}

// version is QEMU's own word for what it is.
func version(guest *catalogue.Node) string {
	var v struct {
		QEMU    struct{ Major, Minor, Micro int }
		Package string
	}
	guest.QMP("query-version", nil, &v)
	return strings.TrimSpace(fmt.Sprintf("QEMU %d.%d.%d %s", v.QEMU.Major, v.QEMU.Minor, v.QEMU.Micro, v.Package))
}
