package echo

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ICMP types (RFC 792).
const (
	typeEchoReply    = 0
	typeUnreachable  = 3
	typeEcho         = 8
	typeTimeExceeded = 11
	typeParameter    = 12
)

// icmpFilter is ICMP_FILTER of raw(7): a bit set is a type not wanted.
const icmpFilter = 1

// errNotOurs is a packet that belongs to somebody else.
var errNotOurs = errors.New("not an answer to our requests")

// socket sends and receives ICMP for one target.
type socket struct {
	f   *os.File
	raw bool // packets come with their IP header, checksums are ours
	id  uint16
}

// message is a received answer.
type message struct {
	seq         uint16
	payload     []byte // valid until the next receive
	intact      bool   // the checksum is right
	unreachable bool   // an ICMP error about one of our requests
}

func dial(o Options) (*socket, error) {
	s, err := open()
	if err != nil {
		return nil, err
	}
	if err := s.prepare(o); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// open prefers a raw socket: it sees ICMP errors and needs no net.ipv4.ping_group_range.
func open() (*socket, error) {
	const flags = unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|flags, unix.IPPROTO_ICMP)
	raw := true
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		raw = false
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|flags, unix.IPPROTO_ICMP)
	}
	if err != nil {
		return nil, fmt.Errorf("ping: open socket: %w", err)
	}
	return &socket{f: os.NewFile(uintptr(fd), "icmp"), raw: raw, id: uint16(time.Now().UnixNano()>>10) ^ uint16(fd)}, nil
}

func (s *socket) prepare(o Options) error {
	fd, err := s.fd()
	if err != nil {
		return err
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20) // a flood's replies come in bursts
	if o.Link != "" {
		if err := unix.BindToDevice(fd, o.Link); err != nil {
			return fmt.Errorf("ping: bind to %s: %w", o.Link, err)
		}
	}
	if o.DontFragment {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO); err != nil {
			return fmt.Errorf("ping: set don't fragment: %w", err)
		}
	}
	if o.TTL > 0 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TTL, o.TTL); err != nil {
			return fmt.Errorf("ping: set ttl: %w", err)
		}
	}
	if s.raw {
		wanted := uint32(1<<typeEchoReply | 1<<typeUnreachable | 1<<typeTimeExceeded | 1<<typeParameter)
		if err := unix.SetsockoptInt(fd, unix.SOL_RAW, icmpFilter, int(^wanted)); err != nil {
			return fmt.Errorf("ping: set filter: %w", err)
		}
	}
	return s.connect(fd, o)
}

func (s *socket) connect(fd int, o Options) error {
	if o.Source.IsValid() {
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: o.Source.As4()}); err != nil {
			return fmt.Errorf("ping: bind to %s: %w", o.Source, err)
		}
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: o.Target.As4()}); err != nil {
		return fmt.Errorf("ping %s: %w", o.Target, err)
	}
	if s.raw {
		return nil
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return fmt.Errorf("ping: socket name: %w", err)
	}
	s.id = uint16(sa.(*unix.SockaddrInet4).Port) // the kernel writes it into every request
	return nil
}

// fd is the descriptor, which stays non-blocking (os.File.Fd would change that).
func (s *socket) fd() (fd int, err error) {
	rc, err := s.f.SyscallConn()
	if err != nil {
		return -1, fmt.Errorf("ping: socket: %w", err)
	}
	err = rc.Control(func(p uintptr) { fd = int(p) })
	return fd, err
}

func (s *socket) close() { s.f.Close() }

// send sends one request; frame has room for the header before the payload. When the kernel is out of buffers for a
// moment it tries again a few times.
func (s *socket) send(seq uint16, frame []byte) error {
	frame[0], frame[1], frame[2], frame[3] = typeEcho, 0, 0, 0
	binary.BigEndian.PutUint16(frame[4:], s.id)
	binary.BigEndian.PutUint16(frame[6:], seq)
	binary.BigEndian.PutUint16(frame[2:], ^sum(frame))
	var err error
	for range 5 {
		if _, err = s.f.Write(frame); !errors.Is(err, unix.ENOBUFS) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	return err
}

// receive reads one packet.
func (s *socket) receive(buf []byte) (message, error) {
	n, err := s.f.Read(buf)
	if err != nil {
		return message{}, err
	}
	b := buf[:n]
	if s.raw {
		if b = payloadOfIP(b); b == nil {
			return message{}, errNotOurs
		}
	}
	return parse(b, s.id, s.raw)
}

// payloadOfIP cuts the IPv4 header off; nil when there is none.
func payloadOfIP(b []byte) []byte {
	if len(b) < 20 || b[0]>>4 != 4 {
		return nil
	}
	h := int(b[0]&15) * 4
	if h < 20 || h > len(b) {
		return nil
	}
	return b[h:]
}

// parse reads an ICMP message addressed to identifier id. Only a raw socket's checksum is still to be verified.
func parse(b []byte, id uint16, verify bool) (message, error) {
	if len(b) < headerLen {
		return message{}, errNotOurs
	}
	switch b[0] {
	case typeEchoReply:
		if binary.BigEndian.Uint16(b[4:]) != id {
			return message{}, errNotOurs
		}
		return message{seq: binary.BigEndian.Uint16(b[6:]), payload: b[headerLen:], intact: !verify || sum(b) == 0xffff}, nil
	case typeUnreachable, typeTimeExceeded, typeParameter:
		orig := payloadOfIP(b[headerLen:])
		if len(orig) < headerLen || orig[0] != typeEcho || binary.BigEndian.Uint16(orig[4:]) != id {
			return message{}, errNotOurs
		}
		return message{seq: binary.BigEndian.Uint16(orig[6:]), unreachable: true}, nil
	}
	return message{}, errNotOurs
}

// sum is the Internet checksum's one's complement sum (RFC 1071), four 16-bit words at a time.
func sum(b []byte) uint16 {
	var s, carry uint64
	for ; len(b) >= 8; b = b[8:] {
		v := binary.BigEndian.Uint64(b)
		s += v
		if s < v {
			carry++
		}
	}
	t := s>>48 + s>>32&0xffff + s>>16&0xffff + s&0xffff + carry
	for ; len(b) >= 2; b = b[2:] {
		t += uint64(b[0])<<8 | uint64(b[1])
	}
	if len(b) == 1 {
		t += uint64(b[0]) << 8
	}
	for t>>16 != 0 {
		t = t&0xffff + t>>16
	}
	return uint16(t)
}
