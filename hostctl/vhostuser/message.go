package vhostuser

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"golang.org/x/sys/unix"
)

const (
	headerSize = 12
	maxPayload = 512 // the longest is a configuration space of 12+256 bytes
	maxFDs     = 8   // a memory table's

	versionMask   = 0x3
	version       = 0x1
	flagReply     = 0x4
	flagNeedReply = 0x8
)

// ErrProtocol means that the front-end broke the protocol's framing; the connection cannot go on.
var ErrProtocol = errors.New("vhost-user protocol violation")

// message is one request. It owns the descriptors in fds until takeFD.
type message struct {
	request uint32
	flags   uint32
	payload []byte
	fds     []int
	answer  int // descriptor that goes with the reply, or -1
}

func (m *message) u16(off int) uint16 { return binary.LittleEndian.Uint16(m.payload[off:]) }
func (m *message) u32(off int) uint32 { return binary.LittleEndian.Uint32(m.payload[off:]) }
func (m *message) u64(off int) uint64 { return binary.LittleEndian.Uint64(m.payload[off:]) }

// takeFD hands the first descriptor over to the caller; -1 if there is none.
func (m *message) takeFD() int {
	if len(m.fds) == 0 {
		return -1
	}
	fd := m.fds[0]
	m.fds = m.fds[1:]
	return fd
}

// close closes the descriptors that nobody took (CVE-2019-14818).
func (m *message) close() {
	for _, fd := range m.fds {
		_ = unix.Close(fd)
	}
	m.fds = nil
}

// closeAnswer closes the descriptor that went with the reply.
func (m *message) closeAnswer() {
	if m.answer >= 0 {
		_ = unix.Close(m.answer)
	}
}

// codec reads requests and writes replies.
type codec struct {
	conn *net.UnixConn
	buf  [headerSize + maxPayload]byte
	oob  [256]byte // room for more descriptors than are allowed, so that those can be closed
}

// read returns the next request, whose payload is valid until the next read. On error nothing is left open.
func (c *codec) read() (*message, error) {
	m := &message{answer: -1}
	if err := c.readInto(m); err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

func (c *codec) readInto(m *message) error {
	if err := c.fill(m, c.buf[:headerSize]); err != nil {
		return err
	}
	m.request = binary.LittleEndian.Uint32(c.buf[0:])
	m.flags = binary.LittleEndian.Uint32(c.buf[4:])
	size := binary.LittleEndian.Uint32(c.buf[8:])
	if m.flags&versionMask != version || m.flags&flagReply != 0 || size > maxPayload {
		return fmt.Errorf("message %d flags %#x size %d: %w", m.request, m.flags, size, ErrProtocol)
	}
	m.payload = c.buf[headerSize : headerSize+size]
	err := c.fill(m, m.payload)
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// fill reads len(p) bytes and collects the descriptors that come with them, whatever else is wrong (CVE-2022-0669).
func (c *codec) fill(m *message, p []byte) error {
	for len(p) > 0 {
		n, oobn, flags, _, err := c.conn.ReadMsgUnix(p, c.oob[:])
		if e := m.collect(c.oob[:oobn]); err == nil {
			err = e
		}
		if err != nil {
			return err
		}
		if flags&unix.MSG_CTRUNC != 0 || len(m.fds) > maxFDs {
			return fmt.Errorf("more than %d descriptors: %w", maxFDs, ErrProtocol)
		}
		p = p[n:]
	}
	return nil
}

func (m *message) collect(oob []byte) error {
	if len(oob) == 0 {
		return nil
	}
	cmsgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return fmt.Errorf("parse control message: %w", err)
	}
	for i := range cmsgs {
		if fds, err := unix.ParseUnixRights(&cmsgs[i]); err == nil { // others are not rights
			m.fds = append(m.fds, fds...)
		}
	}
	return nil
}

// reply answers m. The flags must be these exactly: QEMU refuses an echoed NEED_REPLY.
func (c *codec) reply(m *message, payload []byte) error {
	b := make([]byte, headerSize+len(payload))
	binary.LittleEndian.PutUint32(b[0:], m.request)
	binary.LittleEndian.PutUint32(b[4:], version|flagReply)
	binary.LittleEndian.PutUint32(b[8:], uint32(len(payload)))
	copy(b[headerSize:], payload)
	var oob []byte
	if m.answer >= 0 {
		oob = unix.UnixRights(m.answer)
	}
	_, _, err := c.conn.WriteMsgUnix(b, oob, nil)
	return err
}

func u64(v uint64) []byte { return binary.LittleEndian.AppendUint64(nil, v) }
