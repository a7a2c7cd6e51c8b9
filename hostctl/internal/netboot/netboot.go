// Package netboot boots machines of one link from the network: it gives addresses out by DHCP (RFC 2131, with the boot
// file's name, RFC 2132) and one file by TFTP (RFC 1350, without options: those that a client asks for are ignored, as RFC
// 2347 allows).
//
// It answers nobody whose hardware address it was not told, knows no relays and no lease times, and must run in the
// network namespace of the link, with the right to bind ports 67 and 69.
package netboot

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Options say what is given to whom.
type Options struct {
	Link   string                  // netdev of the server's side, which has the address Server
	Server netip.Prefix            // also the clients' mask
	Leases map[string]netip.Prefix // addresses by hardware address, in lower case
	File   string                  // name of the boot file
	Data   []byte                  // what it has, at most MaxFile
	Logf   func(format string, args ...any)
}

// MaxFile is what TFTP can number without wrapping around, in bytes: 65535 blocks of 512, of which the last is not full.
const MaxFile = 65535*blockSize - 1

// A Server runs from Start to Close.
type Server struct {
	o    Options
	dhcp net.PacketConn
	tftp net.PacketConn

	ctx     context.Context
	cancel  context.CancelFunc
	serving sync.WaitGroup

	mu   sync.Mutex
	seen []string
	sent int
}

// Start serves until Close.
func Start(o Options) (*Server, error) {
	return start(o, "0.0.0.0:67", netip.AddrPortFrom(o.Server.Addr(), 69).String())
}

func start(o Options, dhcp, tftp string) (*Server, error) {
	if len(o.Data) > MaxFile {
		return nil, fmt.Errorf("netboot: a file of %d bytes is more than %d", len(o.Data), MaxFile)
	}
	s := &Server{o: o}
	var err error
	if s.dhcp, err = listen(dhcp, o.Link); err != nil {
		return nil, fmt.Errorf("netboot: %w", err)
	}
	if s.tftp, err = listen(tftp, o.Link); err != nil {
		return nil, errors.Join(fmt.Errorf("netboot: %w", err), s.dhcp.Close())
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.serving.Go(func() { s.each(s.dhcp, s.answerDHCP) })
	s.serving.Go(func() { s.each(s.tftp, s.answerTFTP) })
	return s, nil
}

// listen binds to the link too: broadcasts go out there, and other links are not served.
func listen(address, link string) (net.PacketConn, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if cerr := c.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), link) }); cerr != nil {
			return cerr
		}
		return err
	}}
	return lc.ListenPacket(context.Background(), "udp4", address)
}

// each hands every datagram to handle, until the socket is closed.
func (s *Server) each(c net.PacketConn, handle func(data []byte, from net.Addr)) {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := c.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil { // others are ICMP's, of what was sent
			handle(buf[:n], from)
		}
	}
}

// Close ends the server, transfers included, and waits for that.
func (s *Server) Close() error {
	s.cancel()
	err := errors.Join(s.dhcp.Close(), s.tftp.Close())
	s.serving.Wait()
	return err
}

// Seen is what clients asked for so far: "DHCP DISCOVER from 52:54:00:00:00:01", "TFTP read of lab.ipxe from 10.77.0.2".
func (s *Server) Seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.seen...)
}

// Sent is how often the file was taken by a client to its last byte.
func (s *Server) Sent() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent
}

// notice keeps what happened.
func (s *Server) notice(format string, args ...any) {
	line := strings.ToValidUTF8(fmt.Sprintf(format, args...), "?")
	s.mu.Lock()
	s.seen = append(s.seen, line)
	s.mu.Unlock()
	if s.o.Logf != nil {
		s.o.Logf("netboot on %s: %s", s.o.Link, line)
	}
}
