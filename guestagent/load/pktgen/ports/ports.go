// Package ports joins the kinds of ports that pktgen has of its own.
package ports

import (
	"context"
	"errors"
	"os"

	"picolab/guestagent/load/pktgen"
	"picolab/guestagent/load/pktgen/memifport"
	"picolab/guestagent/load/pktgen/netmap"
	"picolab/guestagent/load/pktgen/packet"
	"picolab/guestagent/load/pktgen/tap"
	"picolab/guestagent/load/pktgen/valeport"
	"picolab/guestagent/load/pktgen/xdp"
)

// All returns the kinds of ports by the schemes of their names. The caller may add others.
func All() pktgen.Ports {
	return pktgen.Ports{
		"":       best,
		"memif":  memifport.Open,
		"netmap": netmap.Open,
		"packet": packet.Open,
		"tap":    tap.Open,
		"vale":   vale,
		"xdp":    xdp.Open,
	}
}

// best opens an interface by AF_XDP, or by AF_PACKET where the system, the MTU or another program on the interface does
// not let it. What keeps both from it is told by the latter.
func best(ctx context.Context, name string, use pktgen.Use) (pktgen.Port, error) {
	if p, err := xdp.Open(ctx, name, use); err == nil {
		return p, nil
	}
	return packet.Open(ctx, name, use)
}

// vale opens a port of a switch of ours, or of the kernel's, where there is netmap and no other.
func vale(ctx context.Context, name string, use pktgen.Use) (pktgen.Port, error) {
	p, err := valeport.Open(ctx, name, use)
	if !errors.Is(err, valeport.ErrNoSwitch) {
		return p, err
	}
	if _, none := os.Stat(netmap.Device); none != nil {
		return nil, err
	}
	return netmap.Open(ctx, name, use)
}
