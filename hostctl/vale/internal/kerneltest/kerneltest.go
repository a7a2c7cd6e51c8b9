// Package kerneltest tests ports with the kernel behind them.
package kerneltest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"picolab/hostctl/vale"
	"picolab/hostctl/vale/hostip"
)

// Addr is what the kernel is to have on its side of the port.
const Addr = "192.0.2.1/24"

const (
	limit = 60 * time.Second
	size  = 3 << 20
)

// Carry carries data between the kernel's IP stack, which leaves checksums and segmentation to us, and another one that takes
// neither: both judge what arrives. p is closed.
func Carry(t *testing.T, p vale.Port) {
	s, err := vale.New(vale.Options{Logf: t.Logf})
	if err != nil {
		t.Error(err)
		return
	}
	h, err := hostip.New(hostip.Options{MAC: net.HardwareAddr{2, 0, 0, 0, 0, 9}, Addrs: []netip.Prefix{netip.MustParsePrefix("192.0.2.2/24")}})
	if err != nil {
		t.Error(err)
		return
	}
	if err := errors.Join(s.Attach("kernel", p), s.Attach("host", h.Port())); err != nil {
		t.Error(err)
		return
	}
	exchange(t, h)
	stats := s.Stats()
	if stats.Ports[1].ToSegments == 0 || stats.Ports[0].FromBad+stats.Ports[1].ToOffload != 0 {
		t.Errorf("the kernel left nothing to be segmented, or nonsense: %+v", stats.Ports)
	}
	if err := errors.Join(s.Close(), h.Close()); err != nil {
		t.Error(err)
	}
}

// exchange pings the kernel and has it send back what it gets.
func exchange(t *testing.T, h *hostip.Host) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	kernel := netip.MustParsePrefix(Addr).Addr()
	if _, err := h.Ping(ctx, kernel, 1000); err != nil {
		t.Error(err)
	}
	l, err := net.Listen("tcp", netip.AddrPortFrom(kernel, 0).String())
	if err != nil {
		t.Error(err)
		return
	}
	defer l.Close()
	c, err := h.DialContext(ctx, "tcp", l.Addr().String())
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(limit))
	echo(t, l, c)
}

// echo has the listener's side send back what c sends.
func echo(t *testing.T, l net.Listener, c net.Conn) {
	go func() {
		k, err := l.Accept()
		if err != nil {
			return
		}
		defer k.Close()
		data, _ := io.ReadAll(io.LimitReader(k, size))
		_, _ = k.Write(data)
	}()
	data := bytes.Repeat([]byte("0123456789abcde"), size/15+1)[:size]
	go func() { _, _ = c.Write(data) }()
	sum := sha256.New()
	if n, err := io.CopyN(sum, c, size); err != nil {
		t.Errorf("%d bytes came back: %v", n, err)
	}
	if want := sha256.Sum256(data); !bytes.Equal(sum.Sum(nil), want[:]) {
		t.Error("other bytes came back")
	}
}
