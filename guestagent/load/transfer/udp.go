package transfer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	finTries    = 40
	finPause    = 50 * time.Millisecond
	straggle    = 300 * time.Millisecond // what is late after the fin is waited for so long
	noBufsPause = time.Millisecond
)

// sendUDP sends data datagrams, then fins until one is acknowledged.
func sendUDP(ctx context.Context, conn net.Conn, content io.Reader, o SourceOptions) (*Result, error) {
	size := o.Datagram
	if size <= 0 {
		size = DefaultDatagram
	}
	if size <= datagramHeader || size > maxDatagram {
		return nil, fmt.Errorf("source: datagram of %d bytes, not %d..%d", size, datagramHeader+1, maxDatagram)
	}
	s := &udpSource{ctx: ctx, conn: conn, o: o, sum: sha256.New(), pace: newPacer(o.Rate), start: time.Now()}
	s.res.Peer = conn.RemoteAddr().String()
	err := s.data(content, size-datagramHeader)
	s.res.Elapsed = time.Since(s.start)
	if err == nil {
		err = s.fin()
	}
	s.res.End = end(ctx, err)
	if err == nil {
		s.res.Complete, s.res.End, s.res.SHA256 = true, "fin", s.sum.Sum(nil)
	}
	return &s.res, nil
}

type udpSource struct {
	ctx   context.Context
	conn  net.Conn
	o     SourceOptions
	sum   hash.Hash
	pace  *pacer
	start time.Time
	res   Result
}

func (s *udpSource) data(content io.Reader, size int) error {
	buf, out := make([]byte, size), make([]byte, 0, size+datagramHeader)
	for {
		n, err := io.ReadFull(content, buf)
		if n == 0 {
			return nil
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("read content: %w", err)
		}
		s.sum.Write(buf[:n])
		d := datagram{kind: kindData, serial: uint64(s.res.Datagrams), offset: uint64(s.res.Bytes), content: buf[:n]}
		s.pace.wait(s.ctx, n+datagramHeader)
		if err := s.write(d.append(out[:0])); err != nil {
			return err
		}
		s.res.Datagrams++
		s.res.Bytes += int64(n)
		s.o.Progress.count(n, 1)
	}
}

// write sends one datagram, waiting while the kernel has no buffers.
func (s *udpSource) write(b []byte) error {
	deadline := time.Now().Add(s.o.Timeout)
	for {
		extend(s.ctx, s.conn, s.o.Timeout)
		_, err := s.conn.Write(b)
		if !errors.Is(err, unix.ENOBUFS) || time.Now().After(deadline) {
			return err
		}
		s.res.SendErrors++
		time.Sleep(noBufsPause)
	}
}

func (s *udpSource) fin() error {
	d := datagram{kind: kindFin, serial: uint64(s.res.Datagrams), offset: uint64(s.res.Bytes), content: s.sum.Sum(nil)}
	b, reply := d.append(nil), make([]byte, maxDatagram)
	for range finTries {
		if err := s.write(b); err != nil {
			return err
		}
		extend(s.ctx, s.conn, finPause)
		n, err := s.conn.Read(reply)
		if err == nil {
			if a, derr := decode(reply[:n]); derr == nil && a.kind == kindFinAck {
				return nil
			}
		} else if !errors.Is(err, os.ErrDeadlineExceeded) || s.ctx.Err() != nil {
			return err
		}
	}
	return errors.New("no acknowledgement of the end")
}

// receiveUDP takes datagrams until the fin, or silence.
func (s *Sink) receiveUDP(ctx context.Context) (*Result, error) {
	defer context.AfterFunc(ctx, func() { s.pc.SetDeadline(time.Unix(1, 0)) })()
	r := newReassembly(func(sum hash.Hash, b []byte) error { return s.store(sum, b) })
	buf, wait := make([]byte, maxDatagram+1), s.o.Timeout
	var first, last time.Time
	for {
		extend(ctx, s.pc, wait)
		n, peer, err := s.pc.ReadFromUDPAddrPort(buf)
		if err != nil {
			return r.result(last.Sub(first), end(ctx, err))
		}
		d, err := decode(buf[:n])
		if errors.Is(err, errNotDatagram) {
			continue
		}
		if last = time.Now(); first.IsZero() {
			first, r.res.Peer = last, peer.String()
		}
		s.o.Progress.count(len(d.content), 1)
		if err := r.add(d, err); err != nil {
			return nil, fmt.Errorf("sink: %w", err)
		}
		if wait = s.o.Idle; r.fin {
			s.acknowledge(peer)
			if r.complete() {
				s.acknowledge(peer) // nobody will be there to answer the next fin
				return r.result(last.Sub(first), "fin")
			}
			wait = straggle
		}
	}
}

// acknowledge answers a fin. A lost answer is asked for again.
func (s *Sink) acknowledge(peer netip.AddrPort) {
	ack := datagram{kind: kindFinAck}
	_, _ = s.pc.WriteToUDPAddrPort(ack.append(nil), peer)
}

// bigBuffer lets bursts wait in the kernel, where the process may have more than the usual limit.
func bigBuffer(c *net.UDPConn) error {
	rc, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return rc.Control(func(fd uintptr) {
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20) != nil {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 32<<20) // what the limit gives
		}
	})
}
