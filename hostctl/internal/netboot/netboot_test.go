package netboot

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"picolab/hostctl/internal/leak"
)

func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }

var mac = net.HardwareAddr{0x52, 0x54, 0, 0, 0, 1}

// serve serves a file on the loopback link, on ports of the kernel's choice.
func serve(t *testing.T, data []byte) *Server {
	t.Helper()
	o := Options{Link: "lo", Server: netip.MustParsePrefix("127.0.0.1/8"), File: "lab.ipxe", Data: data, Logf: t.Logf,
		Leases: map[string]netip.Prefix{mac.String(): netip.MustParsePrefix("127.0.0.2/8")}}
	s, err := start(o, "127.0.0.1:0", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// client is a TFTP client that loses every drop-th block it gets.
type client struct {
	t    *testing.T
	c    net.PacketConn
	drop int
}

func (c *client) get(server net.Addr, name string) (data []byte, refused string) {
	c.t.Helper()
	c.c.WriteTo([]byte("\x00\x01"+name+"\x00octet\x00blksize\x001432\x00"), server)
	buf := make([]byte, 2048)
	for got, want := 1, uint16(1); ; got++ {
		c.c.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, from, err := c.c.ReadFrom(buf)
		if err != nil {
			c.t.Fatal(err)
		}
		if binary.BigEndian.Uint16(buf) == opError {
			return nil, string(buf[4:n])
		}
		if c.drop > 0 && got%c.drop == 0 {
			continue
		}
		if block := binary.BigEndian.Uint16(buf[2:]); block == want {
			data = append(data, buf[4:n]...)
			want++
		}
		c.c.WriteTo([]byte{0, opAck, buf[2], buf[3]}, from)
		if n < 4+blockSize {
			return data, ""
		}
	}
}

func newClient(t *testing.T, drop int) *client {
	t.Helper()
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &client{t, c, drop}
}

func TestTFTP(t *testing.T) {
	for _, size := range []int{0, 1, blockSize - 1, blockSize, blockSize + 1, 40 * blockSize} {
		data := make([]byte, size)
		rand.NewChaCha8([32]byte{}).Read(data)
		s := serve(t, data)
		if got, refused := newClient(t, 0).get(s.tftp.LocalAddr(), "lab.ipxe"); !bytes.Equal(got, data) || refused != "" {
			t.Errorf("%d of %d bytes; %s", len(got), size, refused)
		}
		for deadline := time.Now().Add(10 * time.Second); s.Sent() != 1; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d transfers are over", s.Sent())
			}
		}
	}
}

// TestLostBlocks shows that blocks that are lost come again.
func TestLostBlocks(t *testing.T) {
	data := bytes.Repeat([]byte("x"), 3*blockSize)
	s := serve(t, data)
	if got, _ := newClient(t, 2).get(s.tftp.LocalAddr(), "lab.ipxe"); !bytes.Equal(got, data) {
		t.Errorf("%d of %d bytes", len(got), len(data))
	}
}

func TestRefused(t *testing.T) {
	s := serve(t, nil)
	c := newClient(t, 0)
	if _, refused := c.get(s.tftp.LocalAddr(), "shadow"); !strings.HasPrefix(refused, "no such file") {
		t.Errorf("another file: %q", refused)
	}
	for _, request := range []string{"", "\x00\x02lab.ipxe\x00octet\x00", "\x00\x01lab.ipxe\x00netascii\x00", "\x00\x01lab.ipxe", "\x00\x01a\x00octet"} {
		if name, ok := readRequest([]byte(request)); ok {
			t.Errorf("%q is taken for a read of %q", request, name)
		}
	}
	if _, err := Start(Options{Data: make([]byte, MaxFile+1)}); err == nil {
		t.Error("a file that is too long is served")
	}
}

// TestOffer asks for a lease as a client that is known, and as one that is not.
func TestOffer(t *testing.T) {
	s := serve(t, nil)
	discover, err := dhcpv4.NewDiscovery(mac)
	if err != nil {
		t.Fatal(err)
	}
	offer, err := s.offer(discover)
	if err != nil {
		t.Fatal(err)
	}
	if offer.MessageType() != dhcpv4.MessageTypeOffer || !offer.YourIPAddr.Equal(net.IPv4(127, 0, 0, 2)) || offer.BootFileName != "lab.ipxe" ||
		!offer.ServerIPAddr.Equal(net.IPv4(127, 0, 0, 1)) || !offer.ServerIdentifier().Equal(net.IPv4(127, 0, 0, 1)) ||
		offer.SubnetMask().String() != "ff000000" || offer.TransactionID != discover.TransactionID {
		t.Errorf("offer %s", offer.Summary())
	}
	request, err := dhcpv4.NewRequestFromOffer(offer)
	if err != nil {
		t.Fatal(err)
	}
	if ack, err := s.offer(request); err != nil || ack.MessageType() != dhcpv4.MessageTypeAck {
		t.Errorf("%v, %v", ack, err)
	}
	stranger, err := dhcpv4.NewDiscovery(net.HardwareAddr{2, 0, 0, 0, 0, 9})
	if err != nil {
		t.Fatal(err)
	}
	if offer, err := s.offer(stranger); offer != nil || err != nil {
		t.Errorf("a stranger is offered %v, %v", offer, err)
	}
}

// TestSeen shows what is kept of what clients ask for.
func TestSeen(t *testing.T) {
	s := serve(t, []byte("x"))
	discover, err := dhcpv4.NewDiscovery(mac)
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, 0)
	c.c.WriteTo([]byte("no DHCP"), s.dhcp.LocalAddr())
	c.c.WriteTo(discover.ToBytes(), s.dhcp.LocalAddr())
	c.get(s.tftp.LocalAddr(), "lab.ipxe")
	want := []string{"DHCP DISCOVER from 52:54:00:00:00:01", "TFTP read of lab.ipxe from " + c.c.LocalAddr().String()}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		seen := s.Seen()
		if slices.Contains(seen, want[0]) && slices.Contains(seen, want[1]) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("seen %q, want %q", seen, want)
		}
	}
}
