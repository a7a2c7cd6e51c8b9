package client

import (
	"context"

	"picolab/guestagent/wire"
)

// DriverInfo is what `ethtool -i` shows.
type DriverInfo struct {
	Driver, Version, Firmware, Bus string
}

// Driver asks which driver a link has.
func (c *Client) Driver(ctx context.Context, link string) (DriverInfo, error) {
	r, err := unary(ctx, c.agent.Driver, &wire.LinkRequest{Link: link})
	if err != nil {
		return DriverInfo{}, err
	}
	return DriverInfo{Driver: r.Driver, Version: r.Version, Firmware: r.Firmware, Bus: r.Bus}, nil
}

// Features lists the offloads of a link by their kernel names.
func (c *Client) Features(ctx context.Context, link string) (map[string]*wire.Feature, error) {
	return features(unary(ctx, c.agent.Features, &wire.LinkRequest{Link: link}))
}

// SetFeatures switches offloads and returns all as they are then: the kernel may refuse some without an error. Names
// are the kernel's or ethtool's short ones (tso gso gro lro tx rx sg rxvlan txvlan).
func (c *Client) SetFeatures(ctx context.Context, link string, on map[string]bool) (map[string]*wire.Feature, error) {
	req := &wire.SetFeaturesRequest{Link: link}
	for name, on := range on {
		req.Changes = append(req.Changes, &wire.FeatureChange{Name: name, On: on})
	}
	return features(unary(ctx, c.agent.SetFeatures, req))
}

func features(list *wire.FeatureList, err error) (map[string]*wire.Feature, error) {
	if err != nil {
		return nil, err
	}
	m := make(map[string]*wire.Feature, len(list.Features))
	for _, f := range list.Features {
		m[f.Name] = f
	}
	return m, nil
}

// Channels asks for the queue counts of a link (`ethtool -l`).
func (c *Client) Channels(ctx context.Context, link string) (*wire.ChannelsReply, error) {
	return unary(ctx, c.agent.Channels, &wire.LinkRequest{Link: link})
}

// SetCombined sets the number of combined queues (`ethtool -L LINK combined N`).
func (c *Client) SetCombined(ctx context.Context, link string, n int) (*wire.ChannelsReply, error) {
	return unary(ctx, c.agent.SetChannels, &wire.SetChannelsRequest{Link: link, Combined: new(uint32(n))})
}

// LinkStats reads a link's counters: rtnetlink's names (rx_packets), the driver's own as ethtool.NAME.
func (c *Client) LinkStats(ctx context.Context, link string) (map[string]uint64, error) {
	r, err := unary(ctx, c.agent.LinkStats, &wire.LinkRequest{Link: link})
	if err != nil {
		return nil, err
	}
	return r.Counters, nil
}

// Modprobe loads a module and what it depends on; one that is loaded or built in is not an error.
func (c *Client) Modprobe(ctx context.Context, name string, params ...string) error {
	_, err := unary(ctx, c.agent.Modprobe, &wire.ModprobeRequest{Name: name, Params: params})
	return err
}

// Rmmod unloads one module.
func (c *Client) Rmmod(ctx context.Context, name string) error {
	_, err := unary(ctx, c.agent.Rmmod, &wire.ModuleRequest{Name: name})
	return err
}
