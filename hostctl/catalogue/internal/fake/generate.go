package fake

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"picolab/guestagent/client"
	"picolab/guestagent/load/pcapng"
	"picolab/guestagent/wire"
)

// Generate implements catalogue.Agent for netperf and pkt-gen.
func (n *node) Generate(_ context.Context, generator string, args ...string) (json.RawMessage, error) {
	switch generator {
	case "netperf":
		return n.netperf()
	case "pkt-gen":
		return json.RawMessage("{}"), n.replay(args[slices.Index(args, "-P")+1])
	}
	return nil, wire.Errorf(wire.Code_UNSUPPORTED, "load: no generator is called %q", generator)
}

// netperf is a test in which a little data move.
func (n *node) netperf() (json.RawMessage, error) {
	n.lab.mu.Lock()
	defer n.lab.mu.Unlock()
	n.lab.oops()
	r := client.Netperf{Elapsed: 1}
	if n.lab.Faults.NoServer {
		return nil, wire.Errorf(wire.Code_GUEST, "connect to netserver: connection refused")
	}
	if !n.lab.Faults.Stall {
		r.Throughput, r.Local.BytesSent, r.Remote.BytesReceived, r.TransactionRate = 8000, 1000, 1000, 100
	}
	return json.Marshal(r)
}

// Serve implements catalogue.Agent.
func (n *node) Serve(context.Context, string, ...string) (netip.AddrPort, func() error, error) {
	return netip.AddrPortFrom(netip.IPv4Unspecified(), 12865), func() error { return nil }, nil
}

// Join implements catalogue.Agent.
func (n *node) Join(_ context.Context, link, mac string) error {
	n.lab.mu.Lock()
	defer n.lab.mu.Unlock()
	if _, err := n.find(link); err != nil {
		return err
	}
	n.joined = append(n.joined, mac)
	return nil
}

// Leave implements catalogue.Agent.
func (n *node) Leave(_ context.Context, _, mac string) error {
	n.lab.mu.Lock()
	defer n.lab.mu.Unlock()
	n.joined = slices.DeleteFunc(n.joined, func(m string) bool { return m == mac })
	return nil
}

// replay sends the frames of a file to the guests.
func (n *node) replay(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	n.lab.mu.Lock()
	defer n.lab.mu.Unlock()
	r := pcapng.NewReader(f)
	for {
		p, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		n.lab.deliver(p.Data)
	}
}

// deliver writes a frame to the captures of guests that joined its address.
func (l *Lab) deliver(frame []byte) {
	l.reassemble(frame)
	to := net.HardwareAddr(frame[:6]).String()
	group := frame[0]&1 != 0
	for _, c := range l.captures {
		wanted := !strings.Contains(c.filter, "ether multicast") || group != strings.Contains(c.filter, "not ether multicast")
		if slices.Contains(c.n.joined, to) && wanted && to != l.Faults.LoseTo {
			c.take(frame)
		}
	}
}
