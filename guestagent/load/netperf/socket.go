package netperf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"
)

// socket is a blocking socket. One goroutine uses and closes it; any may interrupt it.
type socket struct {
	fd     int
	mu     sync.Mutex // of closed, and so of what fd means
	closed bool

	placed, isDirect bool // see direct
}

// interrupt shuts the socket down (unix.SHUT_RD, ...), which ends calls that block on it, connect and accept too.
func (s *socket) interrupt(how int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		_ = unix.Shutdown(s.fd, how)
	}
}

// Close may be called again.
func (s *socket) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		if s.placed {
			places.Add(-1)
		}
		_ = unix.Close(s.fd)
	}
}

// dataOptions are what a side wants of its data sockets.
type dataOptions struct {
	Protocol               int32 // unix.IPPROTO_TCP or UDP
	Local                  netip.AddrPort
	SendBuffer, RecvBuffer int32 // bytes, -1 the system's
	NoDelay, Keepalive     bool
	DontRoute              bool
	Priority, TOS          int32  // -1 the system's
	Congestion             string // "" the system's
}

// newSocket makes a data socket, bound when it must be. Buffers the system does not grant are no error, as in the original: the sizes
// in force are part of the result. Neither is congestion control: see setCongestion.
func newSocket(o *dataOptions) (*socket, error) {
	kind := unix.SOCK_STREAM
	if o.Protocol == unix.IPPROTO_UDP {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(o.family(), kind|unix.SOCK_CLOEXEC, int(o.Protocol))
	if err != nil {
		return nil, fmt.Errorf("make data socket: %w", err)
	}
	s := &socket{fd: fd}
	for _, a := range o.settings() {
		_ = unix.SetsockoptString(fd, a.level, a.name, string(a.value))
	}
	if o.anywhere() {
		return s, nil
	}
	if err := unix.Bind(fd, sockaddr(o.Local)); err != nil {
		s.Close()
		return nil, fmt.Errorf("bind data socket to %s: %w", o.Local, err)
	}
	return s, nil
}

// anywhere says that connect or listen may choose the address: binding early would take a port from all destinations.
func (o *dataOptions) anywhere() bool {
	return o.Protocol == unix.IPPROTO_TCP && o.Local.Port() == 0 && o.Local.Addr().IsUnspecified()
}

// family is that of its addresses, unix.AF_INET or AF_INET6.
func (o *dataOptions) family() int {
	if o.Local.Addr().Is6() {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

// setting is what setsockopt(2) sets.
type setting struct {
	level, name int
	value       []byte
}

// settings are those that a request may ask for and a system may refuse.
func (o *dataOptions) settings() (all []setting) {
	set := func(want bool, level, name, value int) {
		if want {
			all = append(all, setting{level, name, binary.NativeEndian.AppendUint32(nil, uint32(value))})
		}
	}
	tcp := o.Protocol == unix.IPPROTO_TCP
	set(o.SendBuffer > 0, unix.SOL_SOCKET, unix.SO_SNDBUF, int(o.SendBuffer))
	set(o.RecvBuffer > 0, unix.SOL_SOCKET, unix.SO_RCVBUF, int(o.RecvBuffer))
	set(o.Keepalive, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	set(o.DontRoute, unix.SOL_SOCKET, unix.SO_DONTROUTE, 1)
	set(o.Priority >= 0, unix.SOL_SOCKET, unix.SO_PRIORITY, int(o.Priority))
	set(tcp && o.Local.Port() != 0, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	set(tcp && o.NoDelay, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if o.Local.Addr().Is6() {
		set(o.TOS >= 0, unix.IPPROTO_IPV6, unix.IPV6_TCLASS, int(o.TOS))
	} else {
		set(o.TOS >= 0, unix.IPPROTO_IP, unix.IP_TOS, int(o.TOS))
	}
	if tcp && o.Congestion != "" {
		all = append(all, setting{unix.IPPROTO_TCP, unix.TCP_CONGESTION, []byte(o.Congestion)})
	}
	return all
}

// setCongestion names the congestion control of a TCP socket, tcp(7).
func (s *socket) setCongestion(name string) error {
	if err := unix.SetsockoptString(s.fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, name); err != nil {
		return fmt.Errorf("set congestion control %q: %w", name, err)
	}
	return nil
}

// systemCongestion is the congestion control of sockets for which none is named, "" when that is not known.
func systemCongestion(o *dataOptions) string {
	unnamed := *o
	unnamed.Congestion = ""
	s, err := newSocket(&unnamed)
	if err != nil {
		return ""
	}
	defer s.Close()
	return s.congestion()
}

// congestion is the name of the congestion control in force, "" for UDP.
func (s *socket) congestion() string {
	name, err := unix.GetsockoptString(s.fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION)
	if err != nil {
		return ""
	}
	return name
}

// buffers are the sizes of the send and receive buffers as the kernel tells them (twice what was set, socket(7)).
func (s *socket) buffers() (send, receive int32) {
	a, _ := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_SNDBUF)
	b, _ := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
	return int32(a), int32(b)
}

// retransmits counts the segments that TCP sent again; -1 when it is not known.
func (s *socket) retransmits() int32 {
	info, err := unix.GetsockoptTCPInfo(s.fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return -1
	}
	return int32(info.Total_retrans)
}

// segment is TCP's maximum segment size in bytes, -1 when it is not known.
func (s *socket) segment() int32 {
	n, err := unix.GetsockoptInt(s.fd, unix.IPPROTO_TCP, unix.TCP_MAXSEG)
	if err != nil {
		return -1
	}
	return int32(n)
}

// local is the address the socket is bound to.
func (s *socket) local() netip.AddrPort {
	sa, err := unix.Getsockname(s.fd)
	if err != nil {
		return netip.AddrPort{}
	}
	return addrPort(sa)
}

// connect waits for as long as the kernel tries: a wait that a socket's timeout ended goes on (connect(2), EINPROGRESS).
func (s *socket) connect(to netip.AddrPort) error {
	for {
		err := unix.Connect(s.fd, sockaddr(to))
		if err == nil || errors.Is(err, unix.EISCONN) {
			return nil
		}
		if !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EALREADY) && !errors.Is(err, unix.EINPROGRESS) {
			return fmt.Errorf("connect data socket to %s: %w", to, err)
		}
	}
}

func (s *socket) listen() error {
	if err := unix.Listen(s.fd, 128); err != nil {
		return fmt.Errorf("listen for data: %w", err)
	}
	return nil
}

// accept takes a connection; options of the listening socket hold for it, except those of the addresses.
func (s *socket) accept() (*socket, netip.AddrPort, error) {
	for {
		fd, from, err := s.acceptOne()
		if err == nil {
			return &socket{fd: fd, isDirect: s.isDirect}, from, nil // timeouts are inherited
		}
		if !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.ECONNABORTED) {
			return nil, netip.AddrPort{}, fmt.Errorf("accept data connection: %w", err)
		}
	}
}

func (s *socket) acceptOne() (int, netip.AddrPort, error) {
	if s.isDirect {
		return s.directAccept()
	}
	fd, sa, err := unix.Accept4(s.fd, unix.SOCK_CLOEXEC)
	return fd, addrPort(sa), err
}

// read fills part of b; 0 is the end of a stream, or an empty datagram.
func (s *socket) read(b []byte) (int, error) {
	if s.isDirect {
		return s.directCall(unix.SYS_RECVFROM, b)
	}
	for {
		n, err := unix.Read(s.fd, b)
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}

// write sends part of b. SIGPIPE does no harm: the runtime ignores it on what is not standard output.
func (s *socket) write(b []byte) (int, error) {
	if s.isDirect {
		return s.directCall(unix.SYS_SENDTO, b)
	}
	for {
		n, err := unix.Write(s.fd, b)
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16(), ZoneId: zone(a.Addr())}
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port))
	}
	return netip.AddrPort{}
}
