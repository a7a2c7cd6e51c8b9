package netperf

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Direction of the data, as the server sees it in a request and as the client sees it elsewhere.
type Direction int32

// Directions; RR is both.
const (
	Send    Direction = 2
	Receive Direction = 4
	RR                = Send | Receive
)

// other is the direction seen from the other side.
func (d Direction) other() Direction {
	if d == Send || d == Receive {
		return d ^ RR
	}
	return d
}

// Flags of requests and responses.
const (
	flagNoDelay   = 0x1
	flagConnect   = 0x4 // a new connection for each transaction
	flagCPU       = 0x8
	flagRouting   = 0x20 // else SO_DONTROUTE
	flagKeepalive = -0x80000000
)

// Values of word 22 (socket type) and word 21 (family).
const (
	socketStream   = 1
	socketDatagram = 2
	familyV4       = 4
	familyV6       = 6
)

// maxSize is the largest buffer a peer may ask for, in bytes; maxLength the longest test, in seconds.
const (
	maxSize   = 16 << 20
	maxLength = 7 * 24 * 3600
)

// request asks a server for a test. Sizes are bytes, -1 is "the default".
type request struct {
	CPU                    int32 // to run on, -1 any
	SendBuffer, RecvBuffer int32 // SO_SNDBUF, SO_RCVBUF
	SendSize, RecvSize     int32 // of each call, in stream tests
	Request, Response      int32 // of each transaction, -1 in stream tests
	Flags                  int32
	Length                 int32 // seconds; negative: transactions, or bytes; 0: no end
	DataPort               int32 // for the server to listen on, 0 any
	Family                 int32 // 4, 6, or 0 for that of the control connection
	Protocol               int32 // unix.IPPROTO_TCP or UDP
	Direction              Direction
	ClientPort             int32 // of the client's data socket, when known
	Priority, TOS          int32
	Congestion             string
}

const (
	requestCongestion = 160 // byte offset, 16 bytes
	congestionLen     = 16
)

func (r *request) message() *Message {
	m := new(Message)
	m.setHeader(kindOmni, r.CPU)
	m.setWords(0, r.SendBuffer, r.SendSize, 8, 0, 0, r.Request)
	m.setWords(6, r.RecvBuffer, r.RecvSize, 8, 0, 0, r.Response)
	m.setWords(12, r.Flags, 0, r.Length, 0, 0, -1, -1, -1, r.DataPort, r.Family)
	m.setWords(22, r.socketType(), r.Protocol, int32(r.Direction), r.ClientPort)
	m.setWords(36, r.Priority, r.TOS)
	m.setText(requestCongestion, congestionLen, r.Congestion)
	return m
}

func (r *request) socketType() int32 {
	if r.Protocol == unix.IPPROTO_UDP {
		return socketDatagram
	}
	return socketStream
}

// parseRequest reads a request of kind omni and checks all that the server goes by.
func parseRequest(m *Message) (*request, error) {
	r := &request{
		CPU:        m.Status(),
		SendBuffer: m.word(0), SendSize: m.word(1), Request: m.word(5),
		RecvBuffer: m.word(6), RecvSize: m.word(7), Response: m.word(11),
		Flags: m.word(12), Length: m.word(14),
		DataPort: m.word(20), Family: m.word(21), Protocol: m.word(23),
		Direction: Direction(m.word(24)), ClientPort: m.word(25),
		Priority: m.word(36), TOS: m.word(37),
		Congestion: m.text(requestCongestion, congestionLen),
	}
	return r, r.check(m.word(22))
}

func (r *request) check(socketType int32) error {
	for _, size := range []int32{r.SendSize, r.RecvSize, r.Request, r.Response} {
		if size > maxSize {
			return fmt.Errorf("size %d: at most %d", size, maxSize)
		}
	}
	switch {
	case r.Protocol != unix.IPPROTO_TCP && r.Protocol != unix.IPPROTO_UDP || socketType != r.socketType():
		return fmt.Errorf("protocol %d on socket type %d: only TCP and UDP", r.Protocol, socketType)
	case r.Direction != Send && r.Direction != Receive && r.Direction != RR:
		return fmt.Errorf("direction %#x: only 2, 4 and 6", r.Direction)
	case r.Direction == Send && r.Protocol == unix.IPPROTO_UDP:
		return fmt.Errorf("server sending UDP: where to is not known")
	case r.connects() && (r.Direction != RR || r.Protocol != unix.IPPROTO_TCP):
		return fmt.Errorf("connections without transactions, or without TCP")
	case r.Direction == RR && (r.Request < 1 || r.Response < 1):
		return fmt.Errorf("transaction of %d and %d bytes: at least 1", r.Request, r.Response)
	case r.Protocol == unix.IPPROTO_UDP && max(r.SendSize, r.Request, r.Response) > maxDatagram:
		return fmt.Errorf("datagram larger than %d bytes", maxDatagram)
	case r.DataPort < 0 || r.DataPort > 65535 || r.ClientPort < 0 || r.ClientPort > 65535:
		return fmt.Errorf("port %d or %d: at most 65535", r.DataPort, r.ClientPort)
	case r.Family != 0 && r.Family != familyV4 && r.Family != familyV6:
		return fmt.Errorf("address family %d: only 0, 4 and 6", r.Family)
	case r.Length > maxLength:
		return fmt.Errorf("test of %d s: at most %d", r.Length, maxLength)
	}
	return nil
}

// connects says that each transaction has a connection of its own.
func (r *request) connects() bool { return r.Flags&flagConnect != 0 }

// measuresCPU says that the client wants the server's CPU use.
func (r *request) measuresCPU() bool { return r.Flags&flagCPU != 0 }

// maxDatagram is the most data an IPv4 packet holds after an IP and a UDP header; the original has it for IPv6 too.
const maxDatagram = 65535 - 20 - 8
