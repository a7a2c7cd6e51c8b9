package vnic

import "picolab/hostctl/catalogue"

var zerocopy = catalogue.Case{
	ID:    "vnic.zerocopy",
	Title: "vhost-net takes its parameter for zero copy",
	Seed: catalogue.Seed{Doc: doc, Item: "18 (of the first two)",
		Criterion: "modprobe -r vhost-net; modprobe vhost-net experimental_zcopytx=0: outputs 0; experimental_zcopytx=1: outputs 1",
		Note: "The document loads the module without the parameter in between, which then would not be set again; that step is " +
			"left out. The default has been 0 since 2019, so both values are given. The parameter can only be set while the " +
			"module is loaded, by a kernel that is the lab's own: that of the host image as a VM or on a lab PC."},
	Where: []catalogue.Tier{catalogue.Nested},
	Needs: []string{"vhost_net"},
	Params: catalogue.Params{
		Full: catalogue.Values{"values": "0 1", "time": "2s"},
	},
	Steps: []string{
		"modprobe -r vhost-net; modprobe vhost-net experimental_zcopytx=0",
		"cat /sys/module/vhost_net/parameters/experimental_zcopytx: 0",
		"the same with 1: 1",
		"load the module as it was found",
	},
	Run: func(t *catalogue.T) {
		host := t.Host()
		before := host.ReadFile(zcopytx)
		t.Cleanup(func() { host.Reload("vhost_net", "experimental_zcopytx="+before) })
		for _, value := range t.Words("values") {
			host.Reload("vhost_net", "experimental_zcopytx="+value)
			catalogue.Equal(t, "experimental_zcopytx after modprobe with "+value, value, host.ReadFile(zcopytx), zcopytx)
		}
	},
}

// zcopytx is the parameter as the kernel shows it.
const zcopytx = "/sys/module/vhost_net/parameters/experimental_zcopytx"
