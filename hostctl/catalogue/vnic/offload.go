package vnic

import (
	"fmt"
	"slices"
	"strings"

	"picolab/hostctl/catalogue"
	"picolab/hostctl/lab"
)

// flags are those of ethtool -K that the document has, with ethtool -k's words.
var flags = []struct{ short, long string }{
	{"rx", "rx-checksumming"},
	{"tx", "tx-checksumming"},
	{"sg", "scatter-gather"},
	{"tso", "tcp-segmentation-offload"},
	{"ufo", "udp-fragmentation-offload"},
	{"gso", "generic-segmentation-offload"},
	{"gro", "generic-receive-offload"},
	{"lro", "large-receive-offload"},
}

// noUFO is why there is one flag less today.
const noUFO = "Linux 4.14 gave UDP fragmentation offload up for segmentation of UDP"

// Feature bits of virtio-net (virtio 1.3, 5.1.3) that a flag comes from. There is none of rx: Linux 6.12 has it on without
// VIRTIO_NET_F_GUEST_CSUM, too.
var offloadBits = map[string]int{
	"tx":  0,  // VIRTIO_NET_F_CSUM
	"tso": 11, // VIRTIO_NET_F_HOST_TSO4
}

var offloadQuery = catalogue.Case{
	ID:    "vnic.offload-query",
	Title: "The offloads of the guest's card can be read",
	Seed: catalogue.Seed{Doc: doc, Item: "11",
		Criterion: "ethtool -k eth0: rx-checksumming on, tx-checksumming on, scatter-gather on, tcp-segmentation-offload on, " +
			"udp-fragmentation-offload off, generic-segmentation-offload on, generic-receive-offload off, large-receive-offload off",
		Note: "That they can be read is the criterion; their values are the driver's choice and kept as evidence. Those of " +
			"virtio that the device decides must agree with what was negotiated."},
	Where:    where,
	Topology: catalogue.OneGuest().OnBackends().OnMachines(),
	Matrix:   catalogue.Cards("off").AnyBackend().Machines().EveryModel(),
	Needs:    needs,
	Steps: []string{
		"read the eight flags, as ethtool -k does",
		"tx and tso are as the negotiated features of the device have it (virtio)",
	},
	Deviations: []catalogue.Deviant{{Check: "udp-fragmentation-offload", Seed: "off", Modern: "absent, or off", Reason: noUFO}},
	Run: func(t *catalogue.T) {
		guest := t.Guest("a")
		link := guest.Link(0).Name
		offloads := guest.Offloads(link)
		for _, f := range flags {
			state := offloads.Of(f.short)
			if f.short == "ufo" {
				t.Deviate(f.long, state.String(), !state.Known || !state.On, link)
			} else {
				t.Check(f.long, "on or off", state, state.Known, link)
			}
			if bit, ok := offloadBits[f.short]; ok && t.Axis("nic") == "virtio" {
				checkFeature(t, guest, bit, f.long, map[bool]byte{true: '1', false: '0'}[state.On])
			}
		}
	},
}

var offloadToggle = catalogue.Case{
	ID:    "vnic.offload-toggle",
	Title: "Each offload of the guest's card can be switched, or is fixed",
	Seed: catalogue.Seed{Doc: doc, Item: "12",
		Criterion: "ethtool -K eth0 rx|tx|sg|tso|ufo|gso|gro|lro on/off",
		Note: "A flag that the driver cannot change is [fixed], and is refused; which ones those are is the driver's. Each is " +
			"switched alone and back: checksums off takes the segmentation offloads along."},
	Where:    where,
	Topology: catalogue.OneGuest().OnBackends().OnMachines(),
	Matrix:   catalogue.Cards("off").Backends().Machines().EveryModel(),
	Needs:    needs,
	Params: catalogue.Params{
		Full: catalogue.Values{"virtio": "tx sg tso gso gro", "e1000": "rx tx sg tso gso gro", "rtl8139": "rx tx sg tso gso gro",
			"e1000e": "rx tx sg tso gso gro", "igb": "rx tx sg tso gso gro", "vmxnet3": "rx tx sg tso gso gro lro",
			"interval": "100ms", "count": "3"},
	},
	Steps: []string{
		"for each of the eight flags: switch it to the other state and back, as ethtool -K does",
		"it takes effect each time, or the flag is fixed and the kernel refuses",
		"all flags are as before, and a ping is answered",
	},
	Deviations: []catalogue.Deviant{{Check: "ufo", Seed: "on and off", Modern: "refused", Reason: noUFO}},
	Run: func(t *catalogue.T) {
		guest := t.Guest("a")
		link := guest.Link(0).Name
		before := guest.Offloads(link)
		for _, f := range flags {
			switchOffload(t, guest, link, f.short, before.Of(f.short))
		}
		catalogue.Await(t, "flags afterwards", lab.WaitLink, table(before), func() string { return table(guest.Offloads(link)) })
		guest.AwaitUp(link)
		t.NoLoss("ping afterwards", t.Host().Ping(t.PlainPing(guest.Addr(0))))
	},
}

// table has all flags in a line.
func table(offloads catalogue.Offloads) string {
	words := make([]string, len(flags))
	for i, f := range flags {
		words[i] = f.short + " " + offloads.Of(f.short).String()
	}
	return strings.Join(words, ", ")
}

// switchOffload switches a flag to the other state and back.
func switchOffload(t *catalogue.T, guest *catalogue.Node, link, flag string, was catalogue.Offload) {
	other, err := guest.TryOffload(link, flag, !was.On)
	if flag == "ufo" {
		t.Deviate("ufo", refused(err), err != nil, link)
		return
	}
	changeable := slices.Contains(t.Words(t.Axis("nic")), flag)
	if !changeable || err != nil {
		want := map[bool]string{true: "switched", false: "refused"}[changeable]
		catalogue.Equal(t, fmt.Sprintf("%s (%s)", flag, was), want, refused(err), fmt.Sprint(err))
		return
	}
	catalogue.Equal(t, flag+" switched", !was.On, other.Of(flag).On, other.Of(flag).String())
	back := guest.SetOffload(link, flag, was.On)
	catalogue.Equal(t, flag+" switched back", was.On, back.Of(flag).On, back.Of(flag).String())
}

// refused says what came of a switch.
func refused(err error) string {
	if err != nil {
		return "refused"
	}
	return "switched"
}
