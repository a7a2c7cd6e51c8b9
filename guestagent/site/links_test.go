package site

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"picolab/guestagent/verbs"
	"picolab/guestagent/wire"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/server4"
)

var links0 = verbs.New(verbs.Env{})

func addVeth(t *testing.T, name, peer string) {
	t.Helper()
	ctx := context.Background()
	if _, err := links0.AddLink(ctx, &wire.AddLinkRequest{Name: name, Kind: "veth", Peer: peer}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = links0.DelLink(ctx, &wire.LinkRequest{Link: name}) }) // a test may have deleted it
	setUp(t, peer, true)
}

func setUp(t *testing.T, name string, up bool) {
	t.Helper()
	if _, err := links0.SetLink(context.Background(), &wire.SetLinkRequest{Link: name, Up: &up}); err != nil {
		t.Fatal(err)
	}
}

// network runs the network part of a site until the test ends.
func network(t *testing.T, yaml string) *bench {
	t.Helper()
	b := newBench(t, map[string]string{"picolab/site/network.yaml": yaml})
	s := Open(b.o)
	if log := b.logged(); strings.Contains(log, "network.yaml") {
		t.Fatal(log)
	}
	s.Apply()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.serveNetwork(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return b
}

// ip is what ip(8) prints.
func ip(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil && !strings.Contains(string(out), "does not exist") {
		t.Fatalf("ip %v: %v: %s", args, err, out)
	}
	return string(out)
}

func needIP(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("ip(8) of iproute2 is not installed")
	}
}

// eventually waits until ip prints all the words, or when gone is set, none.
func eventually(t *testing.T, b *bench, gone bool, words []string, args ...string) {
	t.Helper()
	var out string
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		out = ip(t, args...)
		ok := true
		for _, w := range words {
			ok = ok && strings.Contains(out, w) != gone
		}
		if ok {
			return
		}
	}
	t.Fatalf("ip %v never satisfied %q (gone: %v):\n%s\ntold: %s", args, words, gone, out, b.logged())
}

// resolves waits for the content of resolv.conf, which is written after the address is set. It is never there in part.
func resolves(t *testing.T, b *bench, want string) {
	t.Helper()
	var got []byte
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		got, _ = os.ReadFile(filepath.Join(b.root, "etc/resolv.conf"))
		if string(got) == want {
			return
		}
		if !strings.HasSuffix(string(got), "\n") {
			break
		}
	}
	t.Errorf("resolv.conf %q, want %q", got, want)
}

func TestStatic(t *testing.T) {
	needIP(t)
	addVeth(t, "eth0", "peer0")
	b := network(t, `
interfaces:
  eth0:
    addresses: [192.0.2.7/24, "2001:db8::7/64"]
    gateways: [192.0.2.1]
    mtu: 1400
  eth9:
    addresses: [198.51.100.9/24]
`)
	eventually(t, b, false, []string{"192.0.2.7/24", "2001:db8::7/64", "mtu 1400", ",UP"}, "addr", "show", "eth0")
	eventually(t, b, false, []string{"default via 192.0.2.1 dev eth0"}, "route")
	addVeth(t, "eth9", "peer9") // comes later
	eventually(t, b, false, []string{"198.51.100.9/24"}, "addr", "show", "eth9")
	eventually(t, b, true, []string{"inet 1"}, "addr", "show", "peer9")
}

// lease serves one address to everybody on a link.
func lease(t *testing.T, link string) {
	t.Helper()
	handle := func(conn net.PacketConn, _ net.Addr, m *dhcpv4.DHCPv4) {
		kind := dhcpv4.MessageTypeOffer
		if m.MessageType() == dhcpv4.MessageTypeRequest {
			kind = dhcpv4.MessageTypeAck
		}
		reply, err := dhcpv4.NewReplyFromRequest(m, dhcpv4.WithMessageType(kind), dhcpv4.WithYourIP(net.IPv4(203, 0, 113, 5)),
			dhcpv4.WithNetmask(net.CIDRMask(24, 32)), dhcpv4.WithRouter(net.IPv4(203, 0, 113, 254)), dhcpv4.WithDNS(net.IPv4(203, 0, 113, 53)),
			dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IPv4(203, 0, 113, 1))))
		if err == nil {
			_, _ = conn.WriteTo(reply.ToBytes(), &net.UDPAddr{IP: net.IPv4bcast, Port: dhcpv4.ClientPort})
		}
	}
	if _, err := links0.AddAddr(context.Background(), &wire.AddrRequest{Link: link, Prefix: "203.0.113.1/24"}); err != nil {
		t.Fatal(err)
	}
	l, err := server4.NewServer(link, &net.UDPAddr{Port: dhcpv4.ServerPort}, handle)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = l.Serve() }()
	t.Cleanup(func() { l.Close(); <-done })
}

// TestDHCP: an address comes with the carrier and goes with it.
func TestDHCP(t *testing.T) {
	needIP(t)
	addVeth(t, "eth0", "peer0")
	lease(t, "peer0")
	b := network(t, "dns: [192.0.2.53]\ninterfaces:\n  eth0: {dhcp: true}\n")
	eventually(t, b, false, []string{"203.0.113.5/24"}, "addr", "show", "eth0")
	eventually(t, b, false, []string{"default via 203.0.113.254 dev eth0", "metric 10"}, "route")
	resolves(t, b, "nameserver 192.0.2.53\nnameserver 203.0.113.53\n")
	setUp(t, "peer0", false)
	eventually(t, b, true, []string{"203.0.113.5/24"}, "addr", "show", "eth0")
	if got := ip(t, "route"); strings.Contains(got, "default") {
		t.Errorf("the default route stayed: %s", got)
	}
	setUp(t, "peer0", true)
	eventually(t, b, false, []string{"203.0.113.5/24"}, "addr", "show", "eth0")
	resolves(t, b, "nameserver 192.0.2.53\nnameserver 203.0.113.53\n")
}

// TestNotOurs: a link that people or labs made is left alone, and so is a card that became part of a bridge.
func TestNotOurs(t *testing.T) {
	needIP(t)
	addVeth(t, "veth7", "peer7")
	addVeth(t, "eth0", "peer0")
	lease(t, "peer0")
	b := network(t, "interfaces:\n  eth0: {dhcp: true}\n")
	eventually(t, b, false, []string{"203.0.113.5/24"}, "addr", "show", "eth0")
	if got := ip(t, "addr", "show", "veth7"); strings.Contains(got, ",UP") {
		t.Errorf("veth7 was brought up:\n%s", got)
	}
	if _, err := links0.AddLink(context.Background(), &wire.AddLinkRequest{Name: "br7", Kind: "bridge"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = links0.DelLink(context.Background(), &wire.LinkRequest{Link: "br7"}) })
	if _, err := links0.SetLink(context.Background(), &wire.SetLinkRequest{Link: "eth0", Master: new("br7")}); err != nil {
		t.Fatal(err)
	}
	eventually(t, b, true, []string{"203.0.113.5/24"}, "addr", "show", "eth0")
}

// TestCards: a veth has no device, a virtual function has a physical one.
func TestCards(t *testing.T) {
	b := newBench(t, map[string]string{"net/eth0/device/vendor": "", "net/eth1/device/physfn/vendor": "", "net/veth0/address": ""})
	for name, want := range map[string]bool{"eth0": true, "eth1": false, "veth0": false, "gone": false} {
		if got := isCard(filepath.Join(b.stick, "net", name)); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestNamedVLAN: a VLAN's interface is made, named after its parent, and set up like any other.
func TestNamedVLAN(t *testing.T) {
	needIP(t)
	addVeth(t, "eth0", "peer0")
	if out, err := exec.Command("ip", "link", "add", "link", "peer0", "name", "peer0.7", "type", "vlan", "id", "7").CombinedOutput(); err != nil {
		t.Skipf("VLANs need the module 8021q: %s", out)
	}
	b := network(t, "interfaces:\n  eth0:\n    vlans:\n      - {id: 7, addresses: [198.51.100.7/24], mtu: 1400}\n")
	eventually(t, b, false, []string{"198.51.100.7/24", "mtu 1400", ",UP"}, "addr", "show", "eth0.7")
}

// TestFaultsOfLinks: what the kernel refuses is told with the interface's name, and the rest is done.
func TestFaultsOfLinks(t *testing.T) {
	needIP(t)
	addVeth(t, "eth0", "peer0")
	addVeth(t, "longest-name-15", "peer1")
	b := network(t, `
interfaces:
  eth0: {addresses: [192.0.2.7/24], gateways: [192.0.2.7]}
  longest-name-15:
    addresses: [198.51.100.9/24]
    vlans: [{id: 7}]
`)
	eventually(t, b, false, []string{"192.0.2.7/24"}, "addr", "show", "eth0")
	eventually(t, b, false, []string{"198.51.100.9/24"}, "addr", "show", "longest-name-15")
	for _, want := range []string{"network: route 0.0.0.0/0 via 192.0.2.7 on eth0: ", "VLAN 7 of longest-name-15: the name longest-name-15.7 is too long"} {
		for deadline := time.Now().Add(10 * time.Second); !strings.Contains(b.logged(), want); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("not told: %s, but\n%s", want, b.logged())
			}
		}
	}
}

// TestComesAndGoes: an interface that is made anew under the same name is set up anew.
func TestComesAndGoes(t *testing.T) {
	needIP(t)
	b := network(t, "interfaces:\n  eth0: {addresses: [192.0.2.7/24]}\n")
	for range 2 {
		addVeth(t, "eth0", "peer0")
		eventually(t, b, false, []string{"192.0.2.7/24"}, "addr", "show", "eth0")
		if _, err := links0.DelLink(context.Background(), &wire.LinkRequest{Link: "eth0"}); err != nil {
			t.Fatal(err)
		}
	}
}
