package memif

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

const (
	version     = 2 << 8 // 2.0
	messageSize = 128    // of every message, one per packet of the socket
	nameSize    = 32     // of an application or an interface, zero-padded
	secretSize  = 24
	reasonSize  = 96
	waitLimit   = 5 * time.Second // for a message of the handshake
)

// Types of messages.
const (
	msgAck = 1 + iota
	msgHello
	msgInit
	msgAddRegion
	msgAddRing
	msgConnect
	msgConnected
	msgDisconnect
)

var errProtocol = errors.New("memif protocol violation")

// message is one message: its type in the first 2 bytes, then its fields, packed, little-endian.
type message [messageSize]byte

func newMessage(kind uint16) *message {
	m := &message{}
	binary.LittleEndian.PutUint16(m[:], kind)
	return m
}

func (m *message) kind() uint16            { return m.u16(0) }
func (m *message) u16(off int) uint16      { return binary.LittleEndian.Uint16(m[off:]) }
func (m *message) u32(off int) uint32      { return binary.LittleEndian.Uint32(m[off:]) }
func (m *message) u64(off int) uint64      { return binary.LittleEndian.Uint64(m[off:]) }
func (m *message) put16(off int, v uint16) { binary.LittleEndian.PutUint16(m[off:], v) }
func (m *message) put32(off int, v uint32) { binary.LittleEndian.PutUint32(m[off:], v) }
func (m *message) put64(off int, v uint64) { binary.LittleEndian.PutUint64(m[off:], v) }

// text returns the n bytes at off up to a zero.
func (m *message) text(off, n int) string {
	b, _, _ := bytes.Cut(m[off:off+n], []byte{0})
	return string(b)
}

// putText stores s, of which at least one zero of the n bytes follows.
func (m *message) putText(off, n int, s string) { copy(m[off:off+n-1], s) }

// hello is what a server offers: the greatest index of regions and of rings per direction, and size of a ring.
type hello struct {
	name                                string
	min, max                            uint16 // versions
	maxRegion, maxToClient, maxToServer uint16
	maxLog2                             uint8
}

func (h hello) encode() *message {
	m := newMessage(msgHello)
	m.putText(2, nameSize, h.name)
	for i, v := range [...]uint16{h.min, h.max, h.maxRegion, h.maxToClient, h.maxToServer} {
		m.put16(34+2*i, v)
	}
	m[44] = h.maxLog2
	return m
}

func (m *message) hello() hello {
	return hello{m.text(2, nameSize), m.u16(34), m.u16(36), m.u16(38), m.u16(40), m.u16(42), m[44]}
}

// initial is which interface a client wants.
type initial struct {
	version uint16
	id      uint32
	mode    uint8 // 0 is Ethernet
	secret  string
	name    string
}

func (i initial) encode() *message {
	m := newMessage(msgInit)
	m.put16(2, i.version)
	m.put32(4, i.id)
	m[8] = i.mode
	copy(m[9:9+secretSize], i.secret)
	m.putText(33, nameSize, i.name)
	return m
}

func (m *message) initial() initial {
	return initial{m.u16(2), m.u32(4), m[8], m.text(9, secretSize), m.text(33, nameSize)}
}

// addRing tells where a ring is; its descriptor is the one for interrupts.
type addRing struct {
	toServer bool
	index    uint16
	region   uint16
	offset   uint32
	log2     uint8
}

func (a addRing) encode() *message {
	m := newMessage(msgAddRing)
	if a.toServer {
		m.put16(2, 1)
	}
	m.put16(4, a.index)
	m.put16(6, a.region)
	m.put32(8, a.offset)
	m[12] = a.log2
	return m
}

func (m *message) addRing() addRing {
	return addRing{m.u16(2)&1 != 0, m.u16(4), m.u16(6), m.u32(8), m[12]}
}

func encodeRegion(index uint16, size uint64) *message {
	m := newMessage(msgAddRegion)
	m.put16(2, index)
	m.put64(4, size)
	return m
}

func encodeName(kind uint16, name string) *message {
	m := newMessage(kind)
	m.putText(2, nameSize, name)
	return m
}

func encodeDisconnect(reason string) *message {
	m := newMessage(msgDisconnect)
	m.putText(6, reasonSize, reason)
	return m
}

// channel is the socket. A descriptor may go with a message.
type channel struct {
	conn *net.UnixConn
	fd   int // of the message read last, -1 if it had none or somebody took it
}

func (c *channel) send(m *message, fds ...int) error {
	_ = c.conn.SetWriteDeadline(time.Now().Add(waitLimit))
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	if _, _, err := c.conn.WriteMsgUnix(m[:], oob, nil); err != nil {
		return fmt.Errorf("send message %d: %w", m.kind(), err)
	}
	return nil
}

// receive returns the next message, for which it waits no longer than limit if that is not 0. The descriptor of the one
// before is closed, if nobody took it; more than one is a violation.
func (c *channel) receive(limit time.Duration) (*message, error) {
	c.drop()
	deadline := time.Time{}
	if limit != 0 {
		deadline = time.Now().Add(limit)
	}
	_ = c.conn.SetReadDeadline(deadline)
	m, oob := &message{}, make([]byte, 256) // room for descriptors that are then closed
	n, oobn, flags, _, err := c.conn.ReadMsgUnix(m[:], oob)
	fds := rights(oob[:oobn])
	if err == nil && (n != messageSize || flags&(unix.MSG_CTRUNC|unix.MSG_TRUNC) != 0 || len(fds) > 1) {
		err = fmt.Errorf("message of %d bytes, %d descriptors: %w", n, len(fds), errProtocol)
	}
	if err == nil && len(fds) == 1 {
		c.fd, fds = fds[0], nil
	}
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
	return m, err
}

func rights(oob []byte) (fds []int) {
	messages, _ := unix.ParseSocketControlMessage(oob)
	for i := range messages {
		got, _ := unix.ParseUnixRights(&messages[i]) // others are credentials
		fds = append(fds, got...)
	}
	return fds
}

// take hands the descriptor of the last message over; -1 if it had none.
func (c *channel) take() int {
	fd := c.fd
	c.fd = -1
	return fd
}

func (c *channel) drop() {
	if fd := c.take(); fd >= 0 {
		_ = unix.Close(fd)
	}
}

// expect receives a message of one kind.
func (c *channel) expect(kind uint16) (*message, error) {
	m, err := c.receive(waitLimit)
	switch {
	case err != nil:
		return nil, fmt.Errorf("wait for message %d: %w", kind, err)
	case m.kind() == msgDisconnect:
		return nil, fmt.Errorf("peer disconnects: %q", m.text(6, reasonSize))
	case m.kind() != kind:
		return nil, fmt.Errorf("message %d instead of %d: %w", m.kind(), kind, errProtocol)
	}
	return m, nil
}

// request sends a message that the server acknowledges.
func (c *channel) request(m *message, fds ...int) error {
	if err := c.send(m, fds...); err != nil {
		return err
	}
	_, err := c.expect(msgAck)
	return err
}
