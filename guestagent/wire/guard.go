package wire

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync/atomic"
)

// headerLen is the length of a ttrpc frame header: length (4, big endian), stream (4), type, flags.
const headerLen = 10

// Frame types of ttrpc (PROTOCOL.md).
const (
	frameRequest = 1
	frameData    = 3
)

// GuardedConn checks the frame headers that its peer sends before ttrpc sees them: ttrpc reads an oversized frame to its
// end and, on a data frame for a call that takes none, follows a nil pointer. A bad header ends the connection: Read
// fails with io.ErrUnexpectedEOF and a description.
type GuardedConn struct {
	net.Conn
	limit  atomic.Uint32
	header [headerLen]byte
	have   int    // bytes of header read
	out    int    // bytes of header handed on
	left   uint32 // bytes of payload to come
}

// Guard wraps conn; frames with a payload of more than limit bytes are refused.
func Guard(conn net.Conn, limit uint32) *GuardedConn {
	g := &GuardedConn{Conn: conn}
	g.limit.Store(limit)
	return g
}

// SetLimit changes the limit for the frames to come.
func (g *GuardedConn) SetLimit(limit uint32) { g.limit.Store(limit) }

// Read hands on whole headers only after they have passed. It is for one goroutine.
func (g *GuardedConn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if g.left > 0 {
		n, err := g.Conn.Read(p[:min(len(p), int(g.left))])
		g.left -= uint32(n)
		return n, err
	}
	if g.have < headerLen {
		if err := g.readHeader(); err != nil {
			return 0, err
		}
	}
	n := copy(p, g.header[g.out:])
	g.out += n
	if g.out == headerLen {
		g.left = binary.BigEndian.Uint32(g.header[:])
		g.have, g.out = 0, 0
	}
	return n, nil
}

func (g *GuardedConn) readHeader() error {
	n, err := io.ReadFull(g.Conn, g.header[g.have:])
	g.have += n
	if err != nil {
		return err
	}
	return CheckHeader(g.header[:], g.limit.Load())
}

// CheckHeader judges one ttrpc frame header.
func CheckHeader(h []byte, limit uint32) error {
	if len(h) < headerLen {
		return fmt.Errorf("frame header: %d bytes: %w", len(h), io.ErrUnexpectedEOF)
	}
	length, stream, kind := binary.BigEndian.Uint32(h), binary.BigEndian.Uint32(h[4:]), h[8]
	switch {
	case length > limit:
		return fmt.Errorf("frame of %d bytes, limit %d: %w", length, limit, io.ErrUnexpectedEOF)
	case kind < frameRequest || kind > frameData:
		return fmt.Errorf("frame type %d: %w", kind, io.ErrUnexpectedEOF)
	case stream%2 != 1:
		return fmt.Errorf("frame of stream %d, which no client opens: %w", stream, io.ErrUnexpectedEOF)
	}
	return nil
}
