// Package vnic has the cases of seeds/vnic.txt, notes on testing virtual network
// cards of RHEL guests.
package vnic

import "picolab/hostctl/catalogue"

// doc is the seed document's name.
const doc = "vnic.txt"

var (
	where = []catalogue.Tier{catalogue.Container, catalogue.Nested}
	needs = []string{} // beside those of the backend
)

// Cases returns the suite in the order that needs the fewest boots; the
// document's own has the same item twice.
func Cases() []*catalogue.Case {
	return []*catalogue.Case{
		&driverInfo, &featuresDefault, &offloadQuery, &offloadToggle, &promiscToggle, &linkStatusOn, &macChange, &mtuMax, &mtuSet,
		&ping, &pingOversize, &pingFlood, &captureSize, &udpFile, &vlan, &hotplugQMP, &hotplugHMP, &hotplugLegacy, &linkStatusOff,
		&featuresOff, &parallelFlood, &pxe,
		&netperfMix, &netperfUDPSweep, &multiqueue, &migrate, &zerocopy,
	}
}
