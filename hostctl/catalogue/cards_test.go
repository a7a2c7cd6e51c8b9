package catalogue_test

import (
	"testing"

	"picolab/hostctl/catalogue"
)

// TestDefaultsShareLabs shows that what is the default gives the same lab as what is not said.
func TestDefaultsShareLabs(t *testing.T) {
	binds := []catalogue.Bind{{Axis: "backend", Value: "tap"}, {Axis: "machine", Value: "q35"}, {Axis: "nic", Value: "virtio"}, {Axis: "vhost", Value: "off"}}
	key := func(top catalogue.Topology) string {
		t.Helper()
		top, err := top.Resolve(binds)
		if err != nil {
			t.Fatal(err)
		}
		return top.Key()
	}
	plain := key(catalogue.OneGuest())
	if key(catalogue.OneGuest().OnMachines().OnBackends()) != plain {
		t.Error("a q35 on a tap is another lab")
	}
	binds[1].Value = "pc"
	if key(catalogue.OneGuest().OnMachines()) == plain {
		t.Error("a pc is the same lab")
	}
}

// TestMixedCards shows that a guest with cards of several models has vhost for virtio alone.
func TestMixedCards(t *testing.T) {
	binds := []catalogue.Bind{{Axis: "backend", Value: "tap"}, {Axis: "vhost", Value: "on"}}
	for _, top := range []catalogue.Topology{catalogue.ThreeCards(), catalogue.FourCards()} {
		top, err := top.OnBackends().Resolve(binds)
		if err == nil {
			err = top.Validate()
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range top.Guests[0].NICs {
			if (n.Vhost == "on") != (n.Model == "virtio") {
				t.Errorf("%s has vhost %q", n.Model, n.Vhost)
			}
		}
	}
}

// TestBadGuests shows what of a guest cannot be booted.
func TestBadGuests(t *testing.T) {
	net := catalogue.NetGuest("floppy")
	disk := catalogue.OneGuest()
	disk.Guests[0].Boot = "disk"
	for name, top := range map[string]catalogue.Topology{"ROM": net, "boot": disk} {
		top, err := top.Resolve([]catalogue.Bind{{Axis: "nic", Value: "virtio"}, {Axis: "vhost", Value: "off"}})
		if err != nil {
			t.Fatal(err)
		}
		if top.Validate() == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
