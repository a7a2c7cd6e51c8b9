package catalogue

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"picolab/guestagent/client"
	"picolab/guestagent/load/pcapng"
	"picolab/hostctl/lab"
	"picolab/hostctl/report"
)

// Serve starts a generator that others connect to, netserver for one, and returns
// the port it listens on.  It ends with the instance.
func (n *Node) Serve(generator string, args ...string) uint16 {
	n.did("%s %s", generator, strings.Join(args, " "))
	at := ask(n, "start "+generator, lab.WaitAgent, 0, func(context.Context) (netip.AddrPort, error) {
		at, stop, err := n.agent.Serve(n.t.Context(), generator, args...)
		if err == nil {
			n.t.Cleanup(func() { _ = stop() }) // the end of the instance's context has stopped it already
		}
		return at, err
	})
	return at.Port()
}

// generate runs a generator that takes spend, to its end.
func (n *Node) generate(spend time.Duration, generator string, args ...string) (json.RawMessage, error) {
	n.did("%s %s", generator, strings.Join(args, " "))
	ctx, cancel := context.WithTimeout(n.t.Context(), 2*spend+n.t.Timeout(lab.WaitTransfer))
	defer cancel()
	return n.agent.Generate(ctx, generator, args...)
}

// Netperf runs a test of netperf from an endpoint against the netserver at an
// address, checks that it came to its end and that data moved, and records what
// arrived.  How much of UDP does is no criterion.
func (t *T) Netperf(name string, from *Node, server netip.AddrPort, test string, d time.Duration) {
	b, err := from.generate(d, "netperf", "-H", server.Addr().String(), "-p", fmt.Sprint(server.Port()),
		"-t", test, "-l", fmt.Sprintf("%.0f", d.Seconds()))
	if err != nil && !guestsFault(err) {
		from.blame("netperf", err)
	}
	var r client.Netperf
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	got := fmt.Sprintf("%d bytes sent, %d received", r.Local.BytesSent, r.Remote.BytesReceived)
	if err != nil {
		got = err.Error()
	}
	moved := r.Local.BytesSent > 0 && (r.Remote.BytesReceived > 0 || strings.HasPrefix(test, "UDP"))
	t.Check(name, "it ends, data moved", got, err == nil && moved, fmt.Sprintf("%.1f Mbit/s in %.1f s", r.Throughput/1e6, r.Elapsed))
	t.Measured("throughput", "Mbit/s", report.HigherIsBetter, r.Throughput/1e6, "netperf", name)
}

// Inject sends frames from a link of the endpoint once, as they are.  They are
// evidence, too.
func (n *Node) Inject(link, file string, frames [][]byte) {
	path := n.writeFrames(link, file, frames)
	_, err := n.generate(n.t.Timeout(lab.WaitHost), "pkt-gen", "-i", "packet:"+link, "-f", "tx", "-w", "0", "-P", path, "--once")
	if err != nil {
		n.blame("send frames from "+link, err)
	}
}

func (n *Node) writeFrames(link, file string, frames [][]byte) (path string) {
	f := n.t.create(file)
	defer f.Close()
	w, err := pcapng.NewWriter(f, link, 0)
	for _, data := range frames {
		if err == nil {
			err = w.Write(pcapng.Packet{Time: time.Now(), Data: data, Direction: pcapng.Outbound})
		}
	}
	if err == nil {
		err = w.Close(uint64(len(frames)), 0)
	}
	if err != nil {
		n.t.Errorf("write %s: %v", file, err)
	}
	return f.Name()
}
