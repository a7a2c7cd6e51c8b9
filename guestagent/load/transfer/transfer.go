// Package transfer moves deterministic bytes over TCP or UDP and accounts for them: a Source sends content that depends
// on a seed alone, a Sink hashes what comes. TCP carries the bare content. UDP frames it (see datagram.go), because UDP
// has neither an end nor an order.
package transfer

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// Defaults of both ends.
const (
	DefaultTimeout  = 60 * time.Second // to connect, for the first byte, and without progress
	DefaultIdle     = 10 * time.Second
	DefaultDatagram = 1472 // what fits an Ethernet frame: 1500 - 20 - 8
	blockSize       = 64 << 10
)

// Result is one end's account.
type Result struct {
	Bytes          int64
	SHA256         []byte        // of the content in order; nil when some is missing
	ExpectedSHA256 []byte        // UDP sink: what the source says
	Elapsed        time.Duration // first byte to last
	Complete       bool          // the end was seen and nothing is missing
	Peer           string
	End            string // why it ended: "eof", "fin", "idle", "stop", or an error
	UDPResult
}

// Progress are the counts of a transfer under way, for other goroutines to look at.
type Progress struct {
	Bytes, Datagrams atomic.Int64
}

// count adds to the progress, if anybody looks.
func (p *Progress) count(n int, datagrams int64) {
	if p != nil {
		p.Bytes.Add(int64(n))
		p.Datagrams.Add(datagrams)
	}
}

// UDPResult is what only UDP has.
type UDPResult struct {
	Datagrams, Lost, Duplicates, Reordered, Corrupt int64
	SendErrors                                      int64 // sends refused for a moment for want of buffers
}

// Content is an endless stream of bytes that depend on seed alone.
func Content(seed uint64) io.Reader {
	var s [32]byte
	binary.LittleEndian.PutUint64(s[:], seed)
	return rand.NewChaCha8(s)
}

// SourceOptions is what to send where.
type SourceOptions struct {
	Network  string // "tcp" or "udp"
	Target   string // address:port
	Bytes    int64
	Seed     uint64
	Path     string    // send this file instead of generated content; Bytes <= 0: all of it
	Content  io.Reader // or this, to its end; a read of it that blocks holds up the end of ctx
	Progress *Progress // counts along; nil: nobody looks
	Link     string    // bind to this link
	Datagram int       // UDP: bytes of each with our header
	Rate     int64     // bytes per second; 0 = no limit
	Timeout  time.Duration
}

// Source sends and waits until the sink has taken everything.
func Source(ctx context.Context, o SourceOptions) (*Result, error) {
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	content, size, closer, err := o.open()
	if err != nil {
		return nil, err
	}
	defer closer.Close()
	o.Bytes = size
	dctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	d := net.Dialer{ControlContext: bindTo(o.Link)}
	conn, err := d.DialContext(dctx, o.Network, o.Target)
	if err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	if o.Network == "udp" {
		return sendUDP(ctx, conn, content, o)
	}
	return sendTCP(ctx, conn, content, o)
}

// open is the content and its length, -1 when that is not known.
func (o *SourceOptions) open() (io.Reader, int64, io.Closer, error) {
	if o.Content != nil {
		return o.Content, -1, io.NopCloser(nil), nil
	}
	if o.Path == "" {
		if o.Bytes < 0 {
			return nil, 0, nil, errors.New("source: negative length")
		}
		return io.LimitReader(Content(o.Seed), o.Bytes), o.Bytes, io.NopCloser(nil), nil
	}
	f, err := os.Open(o.Path)
	if err != nil {
		return nil, 0, nil, fmt.Errorf("source: %w", err)
	}
	fi, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, nil, fmt.Errorf("source: %w", err)
	}
	n := fi.Size()
	if o.Bytes > 0 {
		n = min(n, o.Bytes)
	}
	return io.LimitReader(f, n), n, f, nil
}

// sendTCP sends, closes its half and waits for the sink to close the other. A transfer that is broken off is reset, so
// that the sink does not take it for whole.
func sendTCP(ctx context.Context, conn net.Conn, content io.Reader, o SourceOptions) (*Result, error) {
	sum, res, start := sha256.New(), &Result{Peer: conn.RemoteAddr().String()}, time.Now()
	defer func() {
		if tcp, ok := conn.(*net.TCPConn); ok && !res.Complete {
			_ = tcp.SetLinger(0)
		}
	}()
	buf, p := make([]byte, blockSize), newPacer(o.Rate)
	for {
		n, err := io.ReadFull(content, buf)
		if n == 0 {
			break
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, fmt.Errorf("source: read content: %w", err)
		}
		sum.Write(buf[:n])
		p.wait(ctx, n)
		extend(ctx, conn, o.Timeout)
		k, err := conn.Write(buf[:n])
		res.Bytes += int64(k)
		o.Progress.count(k, 0)
		if err != nil {
			res.Elapsed, res.End = time.Since(start), end(ctx, err)
			return res, nil
		}
	}
	err := finishTCP(ctx, conn, o.Timeout)
	res.Elapsed, res.End, res.Complete, res.SHA256 = time.Since(start), end(ctx, err), err == nil, sum.Sum(nil)
	return res, nil
}

func finishTCP(ctx context.Context, conn net.Conn, timeout time.Duration) error {
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	extend(ctx, conn, timeout)
	_, err := conn.Read(make([]byte, 1))
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil {
		return errors.New("the sink sent something")
	}
	return err
}

// extend moves a connection's deadline, unless ctx has ended and set its own.
func extend(ctx context.Context, conn net.Conn, d time.Duration) {
	if ctx.Err() == nil {
		_ = conn.SetDeadline(time.Now().Add(d)) // fails only on a closed connection, which the next call reports
	}
	if ctx.Err() != nil {
		_ = conn.SetDeadline(time.Unix(1, 0))
	}
}

// end names the reason a transfer ended.
func end(ctx context.Context, err error) string {
	switch {
	case err == nil:
		return "eof"
	case ctx.Err() != nil:
		return "stop"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "idle"
	}
	return err.Error()
}
