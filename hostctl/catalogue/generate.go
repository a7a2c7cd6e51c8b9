package catalogue

import (
	"context"
	"encoding/json"
	"net/netip"
	"strings"
	"time"

	"picolab/guestagent/load/pcapng"
	"picolab/hostctl/lab"
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
