package fake

import (
	"context"
	"maps"

	"picolab/guestagent/wire"
)

// offloads are the features of the kernel that the fakes' links have, and whether
// they are active at first.
var offloads = map[string]bool{"rx-checksum": true, "tx-checksum-ip-generic": true, "tx-scatter-gather": true,
	"tx-tcp-segmentation": true, "tx-generic-segmentation": true, "rx-gro": true, "rx-lro": false}

// featuresOf returns those of a link, which are made when they are first asked for.
func (n *node) featuresOf(l *wire.Link) map[string]*wire.Feature {
	if n.offloads == nil {
		n.offloads = map[string]map[string]*wire.Feature{}
	}
	if all := n.offloads[l.Name]; all != nil {
		return all
	}
	all := map[string]*wire.Feature{}
	for name, on := range offloads {
		fixed := name == "rx-lro" && l.Driver != "vmxnet3" || name == "rx-checksum" && l.Driver == "virtio_net"
		if name != n.lab.Faults.NoFeature {
			all[name] = &wire.Feature{Name: name, Active: on, Requested: on, Changeable: !fixed}
		}
	}
	n.offloads[l.Name] = all
	return all
}

// Features implements catalogue.Agent.
func (n *node) Features(_ context.Context, link string) (map[string]*wire.Feature, error) {
	n.lab.mu.Lock()
	defer n.lab.mu.Unlock()
	l, err := n.find(link)
	if err != nil {
		return nil, err
	}
	all := map[string]*wire.Feature{}
	for name, f := range n.featuresOf(l) {
		all[name] = &wire.Feature{Name: name, Active: f.Active, Requested: f.Requested, Changeable: f.Changeable}
	}
	return all, nil
}

// SetFeatures implements catalogue.Agent.
func (n *node) SetFeatures(ctx context.Context, link string, on map[string]bool) (map[string]*wire.Feature, error) {
	if err := n.setFeatures(link, on); err != nil {
		return nil, err
	}
	return n.Features(ctx, link)
}

func (n *node) setFeatures(link string, on map[string]bool) error {
	n.lab.mu.Lock()
	defer n.lab.mu.Unlock()
	l, err := n.find(link)
	if err != nil {
		return err
	}
	all := n.featuresOf(l)
	for flag, want := range on {
		names := append(wire.Offload(flag), flag)
		changed := false
		for _, name := range names {
			f := all[name]
			if f == nil || !f.Changeable {
				continue
			}
			changed = true
			if !n.lab.Faults.KeepFeatures {
				f.Active, f.Requested = want, want
			}
		}
		if !changed {
			return wire.Errorf(wire.Code_UNSUPPORTED, "feature %s: not changeable on this link", flag)
		}
	}
	return nil
}

// segment is the largest frame that a link hands over of a TCP stream.
func (n *node) segment(l *wire.Link) int64 {
	full := int64(l.Mtu) + 14
	f := n.lab.Faults
	if f.Segments == 0 && n.featuresOf(l)["tx-tcp-segmentation"].GetActive() {
		return 65226
	}
	return max(full, f.Segments)
}

// LinkStats implements catalogue.Agent.
func (n *node) LinkStats(_ context.Context, link string) (map[string]uint64, error) {
	n.lab.mu.Lock()
	defer n.lab.mu.Unlock()
	if _, err := n.find(link); err != nil {
		return nil, err
	}
	return maps.Clone(n.sent), nil
}
