package catalogue

import "fmt"

// Cards of several models in one guest.

// ThreeModels are the models of [ThreeCards], in the cards' order, which is that of their largest MTUs.
func ThreeModels() []string { return []string{"rtl8139", "e1000", "virtio"} }

// ThreeCards is guest "a" with one card of every model of the documents' matrix, each on a link of its own: on one link all
// replies would leave by the card of the guest's first route.
func ThreeCards() Topology {
	top := Topology{Guests: []Guest{{Name: "a"}}}
	for i, model := range ThreeModels() {
		l := Link{Name: fmt.Sprintf("lan%d", i)}
		top.Links = append(top.Links, l)
		top.Guests[0].NICs = append(top.Guests[0].NICs, mixed(model, l.Name))
	}
	return top
}

// Sleepy has all guests of a topology be such as can be suspended to RAM, and to a disk of that many MiB.
func (top Topology) Sleepy(disk int) Topology {
	for i := range top.Guests {
		top.Guests[i].Swap = disk
	}
	return top
}

// FourCards is guest "a" with four cards on one link.
func FourCards() Topology {
	top := Topology{Links: []Link{{Name: LAN}}, Guests: []Guest{{Name: "a"}}}
	for _, model := range []string{"virtio", "e1000", "rtl8139", "virtio"} {
		top.Guests[0].NICs = append(top.Guests[0].NICs, mixed(model, LAN))
	}
	return top
}

// mixed is a card of a guest that has several models: vhost is for virtio alone.
func mixed(model, link string) NIC {
	n := NIC{Model: model, Link: link}
	if model == "virtio" {
		n.Vhost = "$vhost"
	}
	return n
}

// MixedCards is the matrix of guests whose cards are of several models.
func MixedCards(vhostQuick ...string) Matrix {
	return Matrix{Axes: []Axis{BackendAxis(), VhostAxis(vhostQuick...)}}.without(onlyTapVhost)
}
