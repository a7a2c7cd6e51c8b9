package verbs

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"picolab/guestagent/wire"

	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"
)

// withEthtool runs f with an ethtool socket of the agent's network namespace.
func withEthtool[T any](f func(*ethtool.Ethtool) (T, error)) (T, error) {
	e, err := ethtool.NewEthtool()
	if err != nil {
		var zero T
		return zero, fmt.Errorf("ethtool: %w", err)
	}
	defer e.Close()
	return f(e)
}

func driverInfo(link string) (*wire.DriverReply, error) {
	return withEthtool(func(e *ethtool.Ethtool) (*wire.DriverReply, error) {
		d, err := e.DriverInfo(link)
		if err != nil {
			return nil, fmt.Errorf("driver of %s: %w", link, err)
		}
		return &wire.DriverReply{Driver: d.Driver, Version: d.Version, Firmware: d.FwVersion, Bus: d.BusInfo}, nil
	})
}

// Driver implements wire.AgentService.
func (v *Verbs) Driver(_ context.Context, req *wire.LinkRequest) (*wire.DriverReply, error) {
	return driverInfo(req.Link)
}

// Features implements wire.AgentService.
func (v *Verbs) Features(_ context.Context, req *wire.LinkRequest) (*wire.FeatureList, error) {
	return withEthtool(func(e *ethtool.Ethtool) (*wire.FeatureList, error) { return features(e, req.Link) })
}

func features(e *ethtool.Ethtool, link string) (*wire.FeatureList, error) {
	states, err := e.FeaturesWithState(link)
	if err != nil {
		return nil, fmt.Errorf("features of %s: %w", link, err)
	}
	list := new(wire.FeatureList)
	for name, st := range states {
		list.Features = append(list.Features, &wire.Feature{
			Name: name, Active: st.Active, Changeable: st.Available && !st.NeverChanged, Requested: st.Requested,
		})
	}
	slices.SortFunc(list.Features, func(a, b *wire.Feature) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}

// SetFeatures implements wire.AgentService. Names unknown to the kernel are an error before anything is changed.
func (v *Verbs) SetFeatures(_ context.Context, req *wire.SetFeaturesRequest) (*wire.FeatureList, error) {
	return withEthtool(func(e *ethtool.Ethtool) (*wire.FeatureList, error) {
		states, err := e.FeaturesWithState(req.Link)
		if err != nil {
			return nil, fmt.Errorf("features of %s: %w", req.Link, err)
		}
		want, err := expandFeatures(req.Changes, states)
		if err != nil {
			return nil, err
		}
		if err := e.Change(req.Link, want); err != nil {
			return nil, fmt.Errorf("set features of %s: %w", req.Link, err)
		}
		return features(e, req.Link)
	})
}

// expandFeatures turns short names into those of the kernel that can be changed; those a device does not have are left out.
func expandFeatures(changes []*wire.FeatureChange, states map[string]ethtool.FeatureState) (map[string]bool, error) {
	want := make(map[string]bool)
	for _, c := range changes {
		names := wire.Offload(c.Name)
		short := names != nil
		if !short {
			names = []string{c.Name}
		}
		n := 0
		for _, name := range names {
			st, ok := states[name]
			if !ok || short && (!st.Available || st.NeverChanged) {
				continue
			}
			want[name] = c.On
			n++
		}
		if n == 0 {
			return nil, wire.Errorf(wire.Code_UNSUPPORTED, "feature %s: not changeable on this link", c.Name)
		}
	}
	return want, nil
}

// Channels implements wire.AgentService.
func (v *Verbs) Channels(_ context.Context, req *wire.LinkRequest) (*wire.ChannelsReply, error) {
	return withEthtool(func(e *ethtool.Ethtool) (*wire.ChannelsReply, error) {
		c, err := e.GetChannels(req.Link)
		if err != nil {
			return nil, fmt.Errorf("channels of %s: %w", req.Link, err)
		}
		return channels(c), nil
	})
}

func channels(c ethtool.Channels) *wire.ChannelsReply {
	return &wire.ChannelsReply{
		MaxRx: c.MaxRx, MaxTx: c.MaxTx, MaxOther: c.MaxOther, MaxCombined: c.MaxCombined,
		Rx: c.RxCount, Tx: c.TxCount, Other: c.OtherCount, Combined: c.CombinedCount,
	}
}

// SetChannels implements wire.AgentService.
func (v *Verbs) SetChannels(_ context.Context, req *wire.SetChannelsRequest) (*wire.ChannelsReply, error) {
	return withEthtool(func(e *ethtool.Ethtool) (*wire.ChannelsReply, error) {
		c, err := e.GetChannels(req.Link)
		if err != nil {
			return nil, fmt.Errorf("channels of %s: %w", req.Link, err)
		}
		for _, f := range []struct{ to, from *uint32 }{{&c.RxCount, req.Rx}, {&c.TxCount, req.Tx}, {&c.CombinedCount, req.Combined}} {
			if f.from != nil {
				*f.to = *f.from
			}
		}
		if _, err := e.SetChannels(req.Link, c); err != nil {
			return nil, fmt.Errorf("set channels of %s: %w", req.Link, err)
		}
		now, err := e.GetChannels(req.Link)
		if err != nil {
			return nil, fmt.Errorf("channels of %s: %w", req.Link, err)
		}
		return channels(now), nil
	})
}

// LinkStats implements wire.AgentService.
func (v *Verbs) LinkStats(_ context.Context, req *wire.LinkRequest) (*wire.LinkStatsReply, error) {
	l, err := byName(req.Link)
	if err != nil {
		return nil, err
	}
	r := &wire.LinkStatsReply{Counters: make(map[string]uint64)}
	if s := l.Attrs().Statistics; s != nil {
		maps.Copy(r.Counters, basicStats(s))
	}
	own, err := withEthtool(func(e *ethtool.Ethtool) (map[string]uint64, error) { return e.Stats(req.Link) })
	if err == nil { // many drivers have none of their own
		for name, n := range own {
			r.Counters["ethtool."+name] = n
		}
	}
	return r, nil
}

func basicStats(s *netlink.LinkStatistics) map[string]uint64 {
	return map[string]uint64{
		"rx_packets": s.RxPackets, "tx_packets": s.TxPackets, "rx_bytes": s.RxBytes, "tx_bytes": s.TxBytes,
		"rx_errors": s.RxErrors, "tx_errors": s.TxErrors, "rx_dropped": s.RxDropped, "tx_dropped": s.TxDropped,
		"multicast": s.Multicast, "collisions": s.Collisions, "rx_over_errors": s.RxOverErrors, "rx_crc_errors": s.RxCrcErrors,
		"rx_missed_errors": s.RxMissedErrors, "tx_carrier_errors": s.TxCarrierErrors,
	}
}
