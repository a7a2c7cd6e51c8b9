package catalogue

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"picolab/guestagent/client"
	"picolab/hostctl/report"
)

// Netperf runs a test of netperf from an endpoint against the netserver at an
// address, checks that it came to its end and that data moved, and records what
// arrived.  How much of UDP does is no criterion.
func (t *T) Netperf(name string, from *Node, server netip.AddrPort, test string, d time.Duration) {
	r, err := from.netperf(server, test, d)
	got := fmt.Sprintf("%d bytes sent, %d received", r.Local.BytesSent, r.Remote.BytesReceived)
	if err != nil {
		got = err.Error()
	}
	moved := r.Local.BytesSent > 0 && (r.Remote.BytesReceived > 0 || strings.HasPrefix(test, "UDP"))
	t.Check(name, "it ends, data moved", got, err == nil && moved, fmt.Sprintf("%.1f Mbit/s in %.1f s", r.Throughput/1e6, r.Elapsed))
	t.Measured("throughput", "Mbit/s", report.HigherIsBetter, r.Throughput/1e6, "netperf", name)
}

// Netperf runs a test of netperf on the endpoint, with test-specific arguments, against the netserver at an address.  All it
// told becomes the evidence file of that name.  A test that cannot be done ends the instance as FAIL: what carries it is what
// is tested.
func (n *Node) Netperf(server netip.AddrPort, file, test string, d time.Duration, args ...string) client.Netperf {
	r, err := n.netperf(server, test, d, args...)
	if err != nil {
		n.t.Fatalf("%s: netperf -t %s: %v", n.name, test, err)
	}
	n.t.keepText(file, string(r.JSON)+"\n")
	return r
}

// netperf runs a test for whole seconds.  Its error is that of the test; others end the instance.
func (n *Node) netperf(server netip.AddrPort, test string, d time.Duration, args ...string) (client.Netperf, error) {
	argv := []string{"-H", server.Addr().String(), "-p", strconv.Itoa(int(server.Port())), "-t", test, "-l", fmt.Sprintf("%.0f", d.Seconds())}
	if len(args) > 0 {
		argv = append(append(argv, "--"), args...)
	}
	b, err := n.generate(d, "netperf", argv...)
	var r client.Netperf
	if err != nil && (guestsFault(err) || n.machine == nil && timedOut(n.t, err)) {
		return r, err
	}
	if err != nil {
		n.blame("netperf -t "+test, err)
	}
	if err := json.Unmarshal(b, &r); err != nil {
		n.t.Errorf("%s: result of netperf -t %s: %v", n.name, test, err)
	}
	r.JSON = b
	return r, nil
}
