package vnic

import (
	"fmt"

	"picolab/hostctl/catalogue"
)

// Feature bits of a virtio device (virtio 1.3, 6: reserved feature bits).
const (
	indirectDesc = 28 // VIRTIO_F_INDIRECT_DESC
	eventIdx     = 29 // VIRTIO_F_EVENT_IDX
)

const noFeatures = "only virtio devices negotiate features"

var featuresDefault = catalogue.Case{
	ID:    "vnic.features-default",
	Title: "indirect_desc and event_idx are negotiated by default",
	Seed: catalogue.Seed{Doc: doc, Item: "19",
		Criterion: "indirect_desc and event_idx are enabled by default: bit 28 and bit 29 are 1",
		Note: "The leftmost character is bit 0. The document's string has 64 characters, newer kernels print 128: bits " +
			"are looked at by index."},
	Where:    where,
	Topology: catalogue.OneGuest().OnBackends().OnMachines(),
	Matrix:   virtioFeatures(),
	Needs:    needs,
	Steps: []string{
		"read the features file of the card's virtio device",
		"bit 28 and bit 29 are 1",
	},
	Run: func(t *catalogue.T) { checkRingFeatures(t, '1') },
}

var featuresOff = catalogue.Case{
	ID:    "vnic.features-off",
	Title: "indirect_desc=off and event_idx=off reach the guest",
	Seed: catalogue.Seed{Doc: doc, Item: "19",
		Criterion: "-device virtio-net-pci,...,indirect_desc=off,event_idx=off: bit 28 and 29 are 0"},
	Where:    where,
	Topology: catalogue.OneGuest("indirect_desc=off", "event_idx=off").OnBackends().OnMachines(),
	Matrix:   virtioFeatures(),
	Needs:    needs,
	Steps: []string{
		"boot with indirect_desc=off,event_idx=off",
		"read the features file of the card's virtio device",
		"bit 28 and bit 29 are 0",
	},
	Run: func(t *catalogue.T) { checkRingFeatures(t, '0') },
}

func virtioFeatures() catalogue.Matrix {
	return catalogue.VirtioOnly(noFeatures).AnyBackend().Machines("q35")
}

func checkRingFeatures(t *catalogue.T, want byte) {
	guest := t.Guest("a")
	checkFeature(t, guest, indirectDesc, "indirect_desc", want)
	checkFeature(t, guest, eventIdx, "event_idx", want)
}

// checkFeature checks one bit of the features of the guest's first card.
func checkFeature(t *catalogue.T, guest *catalogue.Node, bit int, name string, want byte) {
	path := "/sys/class/net/" + guest.Link(0).Name + "/device/features"
	features := guest.ReadFile(path)
	got := "absent"
	if bit < len(features) {
		got = string(features[bit])
	}
	catalogue.Equal(t, fmt.Sprintf("feature bit %d (%s)", bit, name), string(want), got, path+" = "+features)
}
