package verbs_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"picolab/guestagent/client"
	"picolab/guestagent/wire"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestLinks(t *testing.T) {
	p := newPair(t)
	ctx := t.Context()
	l, err := p.a.Link(ctx, "va")
	must(t, err)
	if !l.Up || l.Mtu != 1500 || l.MinMtu != 68 || l.MaxMtu != 65535 || l.Kind != "veth" || l.Driver != "veth" || !slices.Contains(l.Addresses, "10.9.0.1/24") {
		t.Errorf("%+v", l)
	}
	mac := "02:00:00:00:00:0a"
	must(t, p.a.SetLink(ctx, "va", client.LinkChange{Up: new(false), MAC: &mac, MTU: new(9000), Rename: new("vx")}))
	must(t, p.a.SetLink(ctx, "vx", client.LinkChange{Rename: new("va"), Up: new(true), Promisc: new(true), TxQueueLength: new(77)}))
	l, err = p.a.LinkByMAC(ctx, "02:00:00:00:00:0A", 0)
	must(t, err)
	if l.Name != "va" || !l.Up || l.Mtu != 9000 || !l.Promisc {
		t.Errorf("%+v", l)
	}
	must(t, p.a.SetLink(ctx, "va", client.LinkChange{Promisc: new(false)}))
	must(t, p.b.LinkDown(ctx, "vb"))
	waitFor(t, "lower layer down", func() bool {
		l, err := p.a.Link(ctx, "va")
		must(t, err)
		return !l.Carrier && l.Operstate == "lowerlayerdown" || l.Operstate == "down"
	})
}

// TestLinksWhileTheyChange lists links while others come and go: the kernel interrupts such dumps.
func TestLinksWhileTheyChange(t *testing.T) {
	p := newPair(t)
	ctx := t.Context()
	for i := range 30 { // more than fit into one message
		name := fmt.Sprint("bridge", i)
		must(t, p.a.AddBridge(ctx, name))
		t.Cleanup(func() { must(t, p.a.DelLink(context.Background(), name)) })
	}
	changed := make(chan error, 1)
	go func() {
		var errs []error
		for range 50 {
			errs = append(errs, p.a.AddBridge(ctx, "changing"), p.a.DelLink(ctx, "changing"))
		}
		changed <- errors.Join(errs...)
	}()
	for {
		if _, err := p.a.Links(ctx); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-changed:
			must(t, err)
			return
		default:
		}
	}
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 200 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%s: did not happen", what)
}

func TestLinkErrors(t *testing.T) {
	p := newPair(t)
	ctx := t.Context()
	for name, tt := range map[string]struct {
		err  error
		code wire.Code
		is   error
	}{
		"no link":   {p.a.LinkUp(ctx, "nolink0"), wire.Code_NOT_FOUND, syscall.ENODEV},
		"mtu":       {p.a.SetMTU(ctx, "va", 65536), wire.Code_GUEST, syscall.EINVAL},
		"mac":       {p.a.SetLink(ctx, "va", client.LinkChange{MAC: new("zz")}), wire.Code_INVALID, nil},
		"kind":      {p.a.DelLink(ctx, "lo"), wire.Code_UNSUPPORTED, syscall.EOPNOTSUPP},
		"route":     {p.a.DelRoute(ctx, client.Route{Destination: netip.MustParsePrefix("192.0.2.0/24")}), wire.Code_GUEST, syscall.ESRCH},
		"no master": {p.a.SetLink(ctx, "va", client.LinkChange{Master: new("br9")}), wire.Code_NOT_FOUND, syscall.ENODEV},
	} {
		if wire.CodeOf(tt.err) != tt.code || tt.is != nil && !errors.Is(tt.err, tt.is) {
			t.Errorf("%s: %v (%v), want %v", name, tt.err, wire.CodeOf(tt.err), tt.code)
		}
	}
	start := time.Now()
	if _, err := p.a.LinkByMAC(ctx, "02:ff:ff:ff:ff:ff", 100*time.Millisecond); wire.CodeOf(err) != wire.Code_NOT_FOUND || time.Since(start) < 100*time.Millisecond {
		t.Errorf("by address: %v after %v", err, time.Since(start))
	}
}

// TestRoutesAndNeighbours reaches an address behind b that a knows by a static route and ARP entry only.
func TestRoutesAndNeighbours(t *testing.T) {
	p := newPair(t)
	ctx := t.Context()
	far := netip.MustParsePrefix("198.51.100.7/32")
	must(t, p.b.AddAddr(ctx, "vb", far))
	must(t, p.b.AddAddr(ctx, "vb", far)) // again: no error
	vb, err := p.b.Link(ctx, "vb")
	must(t, err)
	must(t, p.b.SetLink(ctx, "vb", client.LinkChange{}))
	must(t, p.b.Sysctl(ctx, "net.ipv4.conf.vb.arp_ignore", "8")) // answers no ARP
	must(t, p.a.AddRoute(ctx, client.Route{Destination: netip.MustParsePrefix("198.51.100.0/24"), Link: "va"}))
	must(t, p.a.AddNeigh(ctx, "va", far.Addr(), vb.Mac))
	ping := func(to netip.Addr) float64 {
		st, err := p.a.PingHost(ctx, client.PingOptions{Target: to, Size: 56, Count: 2, Interval: time.Millisecond, Timeout: 200 * time.Millisecond})
		must(t, err)
		return st.LossPercent()
	}
	if loss := ping(far.Addr()); loss != 0 {
		t.Errorf("loss %v", loss)
	}
	must(t, p.a.DelNeigh(ctx, "va", far.Addr()))
	if loss := ping(far.Addr()); loss != 100 {
		t.Errorf("without neighbour: loss %v", loss)
	}
	must(t, p.a.AddRoute(ctx, client.Route{Gateway: p.bIP}))
	must(t, p.a.DelRoute(ctx, client.Route{Gateway: p.bIP}))
	must(t, p.b.DelAddr(ctx, "vb", far))
}

// TestJoin looks at what a link receives as the kernel tells it.
func TestJoin(t *testing.T) {
	p := newPair(t)
	ctx := t.Context()
	receives := func(mac string) bool {
		ifi, err := net.InterfaceByName("va")
		must(t, err)
		entries, err := netlink.NeighList(ifi.Index, unix.AF_BRIDGE)
		must(t, err)
		return slices.ContainsFunc(entries, func(n netlink.Neigh) bool { return n.HardwareAddr.String() == mac })
	}
	for _, mac := range []string{"01:00:5e:c0:01:64", "02:00:5e:c0:01:64"} { // a group's and a station's
		must(t, p.a.Join(ctx, "va", mac))
		must(t, p.a.Join(ctx, "va", mac)) // again: no error
		if !receives(mac) {
			t.Errorf("%s: not received after join", mac)
		}
		for receives(mac) {
			must(t, p.a.Leave(ctx, "va", mac))
		}
		if err := p.a.Leave(ctx, "va", mac); wire.CodeOf(err) != wire.Code_NOT_FOUND {
			t.Errorf("%s: left twice: %v (%v)", mac, err, wire.CodeOf(err))
		}
	}
	for _, mac := range []string{"", "zz"} {
		if err := p.a.Join(ctx, "va", mac); wire.CodeOf(err) != wire.Code_INVALID {
			t.Errorf("join %q: %v (%v)", mac, err, wire.CodeOf(err))
		}
	}
}

func TestVLAN(t *testing.T) {
	p := newPair(t)
	ctx := t.Context()
	err := p.a.AddVLAN(ctx, "va", "va.10", 10)
	if errors.Is(err, syscall.EOPNOTSUPP) || wire.CodeOf(err) == wire.Code_UNSUPPORTED {
		t.Skipf("the kernel has no 8021q: %v", err)
	}
	must(t, err)
	must(t, p.b.AddVLAN(ctx, "vb", "vb.10", 10))
	must(t, p.a.AddAddr(ctx, "va.10", netip.MustParsePrefix("10.10.0.1/24")))
	must(t, p.b.AddAddr(ctx, "vb.10", netip.MustParsePrefix("10.10.0.2/24")))
	must(t, p.a.LinkUp(ctx, "va.10"))
	must(t, p.b.LinkUp(ctx, "vb.10"))
	st, err := p.a.PingHost(ctx, client.PingOptions{Target: netip.MustParseAddr("10.10.0.2"), Size: 1472, Count: 5, Interval: time.Millisecond, DontFragment: true})
	must(t, err)
	if st.LossPercent() != 0 {
		t.Errorf("%+v", st)
	}
	l, err := p.a.Link(ctx, "va.10")
	must(t, err)
	if l.VlanId != 10 || l.Parent != "va" || l.Kind != "vlan" {
		t.Errorf("%+v", l)
	}
	must(t, p.a.DelLink(ctx, "va.10"))
}

func TestBridge(t *testing.T) {
	p := newPair(t)
	ctx := t.Context()
	must(t, p.a.AddBridge(ctx, "br0"))
	must(t, p.a.SetLink(ctx, "va", client.LinkChange{Master: new("br0")}))
	l, err := p.a.Link(ctx, "va")
	must(t, err)
	if l.Master != "br0" {
		t.Errorf("%+v", l)
	}
	must(t, p.a.SetLink(ctx, "va", client.LinkChange{Master: new("")}))
	must(t, p.a.DelLink(ctx, "br0"))
}

func TestFeatures(t *testing.T) {
	p := newPair(t)
	ctx := t.Context()
	f, err := p.a.SetFeatures(ctx, "va", map[string]bool{"tso": false, "gro": true})
	must(t, err)
	if f["tx-tcp-segmentation"].Active || !f["rx-gro"].Active {
		t.Errorf("tso %+v, gro %+v", f["tx-tcp-segmentation"], f["rx-gro"])
	}
	f, err = p.a.SetFeatures(ctx, "va", map[string]bool{"tx-tcp-segmentation": true})
	must(t, err)
	if !f["tx-tcp-segmentation"].Active {
		t.Errorf("tso %+v", f["tx-tcp-segmentation"])
	}
	if _, err := p.a.SetFeatures(ctx, "va", map[string]bool{"no-such-feature": true}); wire.CodeOf(err) != wire.Code_UNSUPPORTED {
		t.Errorf("unknown feature: %v", err)
	}
	if _, err := p.a.Features(ctx, "nolink0"); wire.CodeOf(err) != wire.Code_NOT_FOUND {
		t.Errorf("no link: %v (%v)", err, wire.CodeOf(err))
	}
	d, err := p.a.Driver(ctx, "va")
	must(t, err)
	if d.Driver != "veth" {
		t.Errorf("%+v", d)
	}
	ch, err := p.a.Channels(ctx, "va")
	must(t, err)
	if ch.Rx+ch.Combined == 0 {
		t.Errorf("%+v", ch)
	}
	st, err := p.a.LinkStats(ctx, "va")
	must(t, err)
	if _, ok := st["rx_packets"]; !ok || len(st) < 10 {
		t.Errorf("%v", st)
	}
}

func TestModules(t *testing.T) {
	c := local(t)
	if err := c.Modprobe(t.Context(), "no_such_module"); wire.CodeOf(err) != wire.Code_NOT_FOUND {
		t.Errorf("load: %v (%v)", err, wire.CodeOf(err))
	}
	if err := c.Rmmod(t.Context(), "no_such_module"); err == nil {
		t.Error("unload: no error")
	} else {
		t.Log(err)
	}
	if err := c.Power(t.Context(), "off"); wire.CodeOf(err) != wire.Code_REFUSED {
		t.Errorf("power: %v", err)
	}
}

func TestDmesg(t *testing.T) {
	c := local(t)
	if f, err := os.Open("/dev/kmsg"); err != nil {
		t.Skipf("kernel log: %v", err)
	} else {
		f.Close()
	}
	n := 0
	must(t, c.Dmesg(t.Context(), false, func(string) { n++ }))
	if n == 0 {
		t.Error("no lines")
	}
	t.Log(n, "lines")
}
