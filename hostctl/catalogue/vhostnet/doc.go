// Package vhostnet has the cases of seeds/vhostnet.txt, the network tests that
// Fedora ran for vhost_net: {rtl8139 | virtio | e1000} with vhost on and off.
package vhostnet

import "picolab/hostctl/catalogue"

// doc is the seed document's name.
const doc = "vhostnet.txt"

// where is the place all cases of the suite run: in namespaces of the kernel at
// hand, or one machine deeper where that kernel has no vhost_net.
var where = []catalogue.Tier{catalogue.Container, catalogue.Nested}

// needs of every case, beside those of its backend.  QEMU is no need but part of
// the host image: a lab without it is an ERROR, not a SKIP.
var needs = []string{}

// Cases returns the suite in the document's order.
func Cases() []*catalogue.Case {
	return []*catalogue.Case{
		&dataTransfer,
		&ping, &pingOversize, &pingFlood,
		&jumbo, &jumboToggle,
		&promiscuous,
		&pxe,
		&vlan,
		&multicast,
		&offloadTSO, &offloadGSO,
		&driverReload,
		&suspendS3, &suspendS4,
		&netperfStress,
		&multiNIC,
		&bonding,
	}
}
