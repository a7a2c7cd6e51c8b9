package catalogue

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"time"

	"picolab/guestagent/client"
)

// Netperf runs a test of netperf on the endpoint, for whole seconds and with test-specific arguments, against the netserver
// at an address.  All it told becomes the evidence file of that name.  A test that cannot be done ends the instance as FAIL:
// what carries it is what is tested.
func (n *Node) Netperf(server netip.AddrPort, file, test string, d time.Duration, args ...string) client.Netperf {
	argv := []string{"-H", server.Addr().String(), "-p", strconv.Itoa(int(server.Port())), "-t", test, "-l", fmt.Sprintf("%.0f", d.Seconds())}
	if len(args) > 0 {
		argv = append(append(argv, "--"), args...)
	}
	b, err := n.generate(d, "netperf", argv...)
	if err != nil && (guestsFault(err) || n.machine == nil && timedOut(n.t, err)) {
		n.t.Fatalf("%s: netperf -t %s: %v", n.name, test, err)
	}
	if err != nil {
		n.blame("netperf -t "+test, err)
	}
	var r client.Netperf
	if err := json.Unmarshal(b, &r); err != nil {
		n.t.Errorf("%s: result of netperf -t %s: %v", n.name, test, err)
	}
	if err := os.WriteFile(n.t.File(file), append(b, '\n'), 0o644); err != nil {
		n.t.Errorf("make evidence: %v", err)
	}
	return r
}
