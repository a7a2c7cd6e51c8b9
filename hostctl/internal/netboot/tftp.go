package netboot

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"time"
)

// Of RFC 1350, section 5.
const (
	opRead  = 1
	opData  = 3
	opAck   = 4
	opError = 5

	errNotFound = 1
	errIllegal  = 4

	blockSize = 512
)

// Of one block.
const (
	blockTime  = time.Second // for its acknowledgement
	blockTries = 5
)

// answerTFTP starts a transfer for a read request. Each has a port of its own.
func (s *Server) answerTFTP(data []byte, from net.Addr) {
	name, ok := readRequest(data)
	if !ok {
		_, _ = s.tftp.WriteTo(refusal(errIllegal, "only reads"), from)
		return
	}
	s.notice("TFTP read of %s from %v", name, from)
	if name != s.o.File {
		_, _ = s.tftp.WriteTo(refusal(errNotFound, "no such file"), from)
		return
	}
	s.serving.Go(func() {
		if err := s.send(from); err != nil {
			s.notice("TFTP to %v: %v", from, err)
			return
		}
		s.notice("TFTP to %v: %d bytes, all acknowledged", from, len(s.o.Data))
		s.mu.Lock()
		defer s.mu.Unlock()
		s.sent++
	})
}

// readRequest takes the file's name out of one.
func readRequest(data []byte) (name string, ok bool) {
	if len(data) < 4 || binary.BigEndian.Uint16(data) != opRead {
		return "", false
	}
	raw, rest, ok := bytes.Cut(data[2:], []byte{0})
	mode, _, ok2 := bytes.Cut(rest, []byte{0})
	return string(raw), ok && ok2 && bytes.EqualFold(mode, []byte("octet"))
}

// send sends the file, a block at a time; the last is the first that is not full.
func (s *Server) send(to net.Addr) error {
	local := net.UDPAddr{IP: s.tftp.LocalAddr().(*net.UDPAddr).IP}
	c, err := net.DialUDP("udp4", &local, to.(*net.UDPAddr))
	if err != nil {
		return err
	}
	defer c.Close()
	stop := context.AfterFunc(s.ctx, func() { c.Close() })
	defer stop()
	rest := s.o.Data
	for block := uint16(1); ; block++ {
		n := min(blockSize, len(rest))
		if err := sendBlock(c, block, rest[:n]); err != nil {
			return err
		}
		if rest = rest[n:]; n < blockSize {
			return nil
		}
	}
}

var errNoAnswer = errors.New("no acknowledgement")

func sendBlock(c *net.UDPConn, block uint16, data []byte) error {
	packet := append(binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, opData), block), data...)
	for range blockTries {
		if _, err := c.Write(packet); err != nil {
			return err
		}
		done, err := acknowledged(c, block)
		if done || err != nil {
			return err
		}
	}
	return errNoAnswer
}

// acknowledged waits for the client's word on a block. One on another block is an old one come late.
func acknowledged(c *net.UDPConn, block uint16) (bool, error) {
	c.SetReadDeadline(time.Now().Add(blockTime))
	var buf [blockSize]byte
	for {
		n, err := c.Read(buf[:])
		var ne net.Error
		switch {
		case errors.As(err, &ne) && ne.Timeout():
			return false, nil
		case err != nil:
			return false, err
		case n < 4:
		case binary.BigEndian.Uint16(buf[:]) == opError:
			return false, errors.New("the client gave up: " + string(bytes.TrimRight(buf[4:n], "\x00")))
		case binary.BigEndian.Uint16(buf[:]) == opAck && binary.BigEndian.Uint16(buf[2:]) == block:
			return true, nil
		}
	}
}

func refusal(code uint16, text string) []byte {
	return append(append(binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, opError), code), text...), 0)
}
