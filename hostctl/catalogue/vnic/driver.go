package vnic

import "picolab/hostctl/catalogue"

var driverInfo = catalogue.Case{
	ID:    "vnic.driver-info",
	Title: "The guest's driver is the one of the card's model",
	Seed: catalogue.Seed{Doc: doc, Item: "5 and 8",
		Criterion: "determine the driver for the guest nics: ethtool -i eth0 | grep driver",
		Note:      "The document names no drivers; they are those of Linux. QEMU's rtl8139 is a C+ chip, whose driver is 8139cp."},
	Where:    where,
	Topology: catalogue.OneGuest().OnBackends().OnMachines(),
	Matrix:   catalogue.Cards("off").AnyBackend().Machines().EveryModel(),
	Needs:    needs,
	Params: catalogue.Params{
		Full: catalogue.Values{"virtio": "virtio_net", "e1000": "e1000", "rtl8139": "8139cp",
			"e1000e": "e1000e", "igb": "igb", "vmxnet3": "vmxnet3"},
	},
	Steps: []string{
		"ask the driver of the card's link, as ethtool -i does",
		"it must be the model's, and sysfs must agree",
	},
	Run: func(t *catalogue.T) {
		guest := t.Guest("a")
		link := guest.Link(0)
		want := t.Param(t.Axis("nic"))
		info := guest.Driver(link.Name)
		catalogue.Equal(t, "driver by ethtool", want, info.Driver, catalogue.JSON(info))
		catalogue.Equal(t, "driver by sysfs", want, link.Driver, "/sys/class/net/"+link.Name+"/device/driver")
	},
}
