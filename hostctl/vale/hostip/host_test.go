package hostip

import (
	"context"
	"crypto/sha256"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"picolab/hostctl/internal/leak"
	"picolab/hostctl/vale"
)

func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }

const limit = 30 * time.Second

// network returns hosts on a switch, with the addresses 192.0.2.1 and 2001:db8::1 and on.
func network(t *testing.T, hosts int) []*Host {
	t.Helper()
	s, err := vale.New(vale.Options{Logf: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	var all []*Host
	for i := range hosts {
		n := byte(i + 1)
		h, err := New(Options{MAC: net.HardwareAddr{2, 0, 0, 0, 0, n}, Addrs: []netip.Prefix{
			netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, n}), 24),
			netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: n}), 64),
		}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = h.Close() })
		if err := s.Attach(string('a'+rune(i)), h.Port()); err != nil {
			t.Fatal(err)
		}
		all = append(all, h)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return all
}

func TestPing(t *testing.T) {
	h := network(t, 3)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for _, to := range []string{"192.0.2.2", "192.0.2.3", "2001:db8::2"} {
		if _, err := h[0].Ping(ctx, netip.MustParseAddr(to), 56); err != nil {
			t.Error(err)
		}
	}
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if _, err := h[0].Ping(short, netip.MustParseAddr("192.0.2.9"), 56); err == nil {
		t.Error("an answer from nobody")
	}
}

// TestTCP carries 4 MiB from one host to another.
func TestTCP(t *testing.T) {
	h := network(t, 2)
	l, err := h[1].Listen(netip.MustParseAddrPort("0.0.0.0:80"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan [32]byte, 1)
	go func() {
		sum := sha256.New()
		if c, err := l.Accept(); err == nil {
			_, _ = io.Copy(sum, c)
			_ = c.Close()
		}
		got <- [32]byte(sum.Sum(nil))
	}()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	c, err := h[0].DialContext(ctx, "tcp", "192.0.2.2:80")
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 4<<20)
	for i := range data {
		data[i] = byte(i * 7 >> 3)
	}
	if _, err := c.Write(data); err != nil {
		t.Error(err)
	}
	_ = c.Close()
	if want := sha256.Sum256(data); <-got != want {
		t.Error("other bytes")
	}
}
