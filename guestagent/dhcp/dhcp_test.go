package dhcp

import (
	"context"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"picolab/guestagent/internal/netns"
	"picolab/guestagent/verbs"
	"picolab/guestagent/wire"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/server4"
	"github.com/insomniacslk/dhcp/rfc1035label"
)

func TestMain(m *testing.M) { os.Exit(netns.Run(m)) }

// A server gives everybody the same lease.
type server struct {
	options []dhcpv4.Modifier
	asked   chan dhcpv4.MessageType
	refuse  bool // NAK what is asked again
}

func (s *server) handle(conn net.PacketConn, peer net.Addr, m *dhcpv4.DHCPv4) {
	answer := dhcpv4.MessageTypeOffer
	if m.MessageType() == dhcpv4.MessageTypeRequest {
		answer = dhcpv4.MessageTypeAck
		if s.refuse && !m.ClientIPAddr.IsUnspecified() {
			answer = dhcpv4.MessageTypeNak
		}
	}
	options := append([]dhcpv4.Modifier{dhcpv4.WithMessageType(answer), dhcpv4.WithServerIP(net.IPv4(192, 0, 2, 1)),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IPv4(192, 0, 2, 1))), dhcpv4.WithYourIP(net.IPv4(192, 0, 2, 77)),
		dhcpv4.WithNetmask(net.CIDRMask(25, 32))}, s.options...)
	reply, err := dhcpv4.NewReplyFromRequest(m, options...)
	if err != nil {
		return
	}
	select {
	case s.asked <- m.MessageType():
	default:
	}
	_, _ = conn.WriteTo(reply.ToBytes(), &net.UDPAddr{IP: net.IPv4bcast, Port: dhcpv4.ClientPort})
}

// serve makes a pair of links, client and server, and serves on the second.
func serve(t *testing.T, s *server) {
	t.Helper()
	v, ctx := verbs.New(verbs.Env{}), context.Background()
	_, err := v.AddLink(ctx, &wire.AddLinkRequest{Name: "client", Kind: "veth", Peer: "server"})
	if err == nil {
		_, err = v.AddAddr(ctx, &wire.AddrRequest{Link: "server", Prefix: "192.0.2.1/25"})
	}
	for _, l := range []string{"client", "server"} {
		if err == nil {
			_, err = v.SetLink(ctx, &wire.SetLinkRequest{Link: l, Up: new(true)})
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = v.DelLink(ctx, &wire.LinkRequest{Link: "client"}) })
	s.asked = make(chan dhcpv4.MessageType, 64)
	l, err := server4.NewServer("server", &net.UDPAddr{Port: dhcpv4.ServerPort}, s.handle)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = l.Serve() }() // ends with an error when it is closed
	t.Cleanup(func() { l.Close(); <-done })
}

// keeping runs Keep on the client's link and returns what its hooks are told.
func keeping(t *testing.T) (got, lost chan *Lease, stop func()) {
	got, lost = make(chan *Lease, 8), make(chan *Lease, 8)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		Keep(ctx, "client", Hooks{Logf: t.Logf, Got: func(l *Lease) error { got <- l; return nil }, Lost: func(l *Lease) { lost <- l }})
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return got, lost, stop
}

func next(t *testing.T, c chan *Lease) *Lease {
	t.Helper()
	select {
	case l := <-c:
		return l
	case <-time.After(20 * time.Second):
		t.Fatal("no lease")
		return nil
	}
}

func TestLease(t *testing.T) {
	serve(t, &server{options: []dhcpv4.Modifier{
		dhcpv4.WithRouter(net.IPv4(192, 0, 2, 1)), dhcpv4.WithDNS(net.IPv4(192, 0, 2, 53)), dhcpv4.WithLeaseTime(600),
		dhcpv4.WithOption(dhcpv4.OptDomainSearch(&rfc1035label.Labels{Labels: []string{"lab.example", "evil\nnameserver 6.6.6.6"}})),
		dhcpv4.WithGeneric(dhcpv4.OptionInterfaceMTU, []byte{0x05, 0x78}),
	}})
	got, lost, stop := keeping(t)
	l := next(t, got)
	want := netip.MustParsePrefix("192.0.2.77/25")
	if l.Address != want || l.MTU != 1400 || !slices.Equal(l.DNS, []string{"192.0.2.53"}) || l.Length != 600*time.Second || l.Renew != 300*time.Second {
		t.Errorf("%+v", l)
	}
	if !slices.Equal(l.Search, []string{"lab.example"}) {
		t.Errorf("domains %q", l.Search)
	}
	if want := []Route{{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr("192.0.2.1")}}; !slices.Equal(l.Routes, want) {
		t.Errorf("routes %v", l.Routes)
	}
	stop()
	if over := next(t, lost); over.Address != want {
		t.Errorf("lost %+v", over)
	}
}

// TestRenewal has the shortest lease there is; it is renewed after half of it, and given up when the server says so.
func TestRenewal(t *testing.T) {
	s := &server{options: []dhcpv4.Modifier{dhcpv4.WithLeaseTime(1)}, refuse: true}
	serve(t, s)
	got, lost, _ := keeping(t)
	first := next(t, got)
	if first.Length != shortest || first.Renew != shortest/2 {
		t.Errorf("%+v", first)
	}
	if next(t, lost) != first {
		t.Error("another lease was lost")
	}
	next(t, got) // asked for anew
}

func ack(t *testing.T, options ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	t.Helper()
	m, err := dhcpv4.New(append([]dhcpv4.Modifier{dhcpv4.WithYourIP(net.IPv4(10, 1, 2, 3))}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestParse(t *testing.T) {
	l, err := parse(ack(t, dhcpv4.WithRouter(net.IPv4(10, 0, 0, 1)),
		dhcpv4.WithGeneric(dhcpv4.OptionClasslessStaticRoute, []byte{24, 192, 0, 2, 10, 0, 0, 9, 0, 10, 0, 0, 8}),
		dhcpv4.WithGeneric(dhcpv4.OptionInterfaceMTU, []byte{0, 68}),
		dhcpv4.WithGeneric(dhcpv4.OptionRenewTimeValue, []byte{0xff, 0xff, 0xff, 0xff})))
	if err != nil {
		t.Fatal(err)
	}
	want := []Route{{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParseAddr("10.0.0.9")}, {netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr("10.0.0.8")}}
	if !slices.Equal(l.Routes, want) {
		t.Errorf("classless routes do not hide the router: %v", l.Routes)
	}
	if l.Address.Bits() != 8 || l.MTU != 0 || l.Length != time.Hour || l.Renew != 30*time.Minute {
		t.Errorf("%+v", l)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, ip := range []net.IP{net.IPv4zero, net.IPv4(224, 0, 0, 1), net.IPv4(127, 0, 0, 1)} {
		if l, err := parse(ack(t, dhcpv4.WithYourIP(ip))); err == nil {
			t.Errorf("%v is taken: %+v", ip, l)
		}
	}
}

// FuzzParse: what a stranger sends must not take the agent down.
func FuzzParse(f *testing.F) {
	m, err := dhcpv4.New(dhcpv4.WithYourIP(net.IPv4(10, 1, 2, 3)), dhcpv4.WithRouter(net.IPv4(10, 0, 0, 1)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(m.ToBytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := dhcpv4.FromBytes(data)
		if err != nil {
			return
		}
		if l, err := parse(m); err == nil && (!l.Address.IsValid() || l.Renew >= l.Length || l.Length < shortest) {
			t.Errorf("%+v", l)
		}
	})
}
