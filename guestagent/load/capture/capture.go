// Package capture records the frames of a link through an AF_PACKET socket (packet(7)): whole frames with kernel
// timestamps in nanoseconds, their direction, their VLAN tag put back, and the number the kernel had to drop.
package capture

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"picolab/guestagent/load/pcapng"

	"golang.org/x/sys/unix"
)

const (
	maxFrame = 1 << 17 // more than any GSO frame with its header
	buffer   = 32 << 20
)

// Options is what to capture.
type Options struct {
	Link    string
	Snaplen int // 0 = whole frames
	Filter  string
	Promisc bool
	Packets int64 // stop after so many; 0 = no limit
	Bytes   int64 // and so many on the wire
}

// Stats counts frames.
type Stats struct {
	Packets, Filtered, Dropped, Bytes, Largest int64
}

// Sink takes frames. Flush is called when no frame waits.
type Sink interface {
	Write(pcapng.Packet) error
	Flush() error
}

// Capture is an open capture: frames wait in the kernel until Run takes them.
type Capture struct {
	o      Options
	filter Filter
	f      *os.File
	stop   atomic.Bool
	stats  Stats
	oob    []byte
}

// Open binds to the link; what passes it from now on is seen.
func Open(o Options) (*Capture, error) {
	filter, err := Parse(o.Filter)
	if err != nil {
		return nil, err
	}
	ifi, err := net.InterfaceByName(o.Link)
	if err != nil {
		return nil, fmt.Errorf("capture on %s: %w", o.Link, unix.ENODEV)
	}
	// protocol 0: nothing is received before the socket is bound to the link
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("capture on %s: open socket: %w", o.Link, err)
	}
	c := &Capture{o: o, filter: filter, f: os.NewFile(uintptr(fd), "packets"), oob: make([]byte, 512)}
	if err := prepare(fd, ifi.Index, o.Promisc); err != nil {
		c.Close()
		return nil, fmt.Errorf("capture on %s: %w", o.Link, err)
	}
	return c, nil
}

func prepare(fd, index int, promisc bool) error {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, buffer) // what the limit gives
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return fmt.Errorf("set timestamps: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1); err != nil {
		return fmt.Errorf("set auxiliary data: %w", err)
	}
	if promisc {
		m := &unix.PacketMreq{Ifindex: int32(index), Type: unix.PACKET_MR_PROMISC}
		if err := unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, m); err != nil {
			return fmt.Errorf("set promiscuous: %w", err)
		}
	}
	sa := &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: index}
	if err := unix.Bind(fd, sa); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	return nil
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

// Close ends a capture that Run does not use.
func (c *Capture) Close() { c.f.Close() }

// Stop ends Run after the frames that wait.
func (c *Capture) Stop() {
	c.stop.Store(true)
	_ = c.f.SetReadDeadline(time.Unix(1, 0)) // fails only when it is closed
}

// Run hands frames to sink until Stop, a limit, the end of ctx (without an error) or a failure, and closes the capture.
func (c *Capture) Run(ctx context.Context, sink Sink) (Stats, error) {
	defer c.Close()
	defer context.AfterFunc(ctx, c.Stop)()
	buf := make([]byte, maxFrame)
	err := c.loop(sink, buf)
	return c.stats, errors.Join(err, sink.Flush(), c.countDropped())
}

func (c *Capture) loop(sink Sink, buf []byte) error {
	rc, err := c.f.SyscallConn()
	if err != nil {
		return fmt.Errorf("capture: %w", err)
	}
	for !c.full() {
		p, err := c.next(rc, sink, buf)
		if err != nil || p == nil {
			return err
		}
		if err := c.take(*p, sink); err != nil {
			return err
		}
	}
	return nil
}

// next is the next frame; nil when there is none and Stop was called.
func (c *Capture) next(rc syscall.RawConn, sink Sink, buf []byte) (*pcapng.Packet, error) {
	var p pcapng.Packet
	var err error
	try := func(fd uintptr) bool {
		p, err = c.receive(int(fd), buf)
		return !errors.Is(err, unix.EAGAIN)
	}
	for {
		if cerr := rc.Control(func(fd uintptr) { try(fd) }); cerr != nil {
			return nil, fmt.Errorf("capture: %w", cerr)
		}
		if errors.Is(err, unix.EAGAIN) {
			if ferr := sink.Flush(); ferr != nil || c.stop.Load() {
				return nil, ferr
			}
			if rerr := rc.Read(try); errors.Is(rerr, os.ErrDeadlineExceeded) {
				continue // Stop: once more without waiting
			}
		}
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("capture on %s: %w", c.o.Link, err)
		}
		return &p, nil
	}
}

func (c *Capture) full() bool {
	return c.o.Packets > 0 && c.stats.Packets >= c.o.Packets || c.o.Bytes > 0 && c.stats.Bytes >= c.o.Bytes
}

// take filters, counts and hands on one frame.
func (c *Capture) take(p pcapng.Packet, sink Sink) error {
	if !c.filter(&Frame{Data: p.Data, Length: p.Length, Direction: p.Direction}) {
		c.stats.Filtered++
		return nil
	}
	c.stats.Packets++
	c.stats.Bytes += int64(p.Length)
	c.stats.Largest = max(c.stats.Largest, int64(p.Length))
	if c.o.Snaplen > 0 && len(p.Data) > c.o.Snaplen {
		p.Data = p.Data[:c.o.Snaplen]
	}
	return sink.Write(p)
}

// receive reads one frame; there are four bytes before it for a VLAN tag.
func (c *Capture) receive(fd int, buf []byte) (pcapng.Packet, error) {
	n, oobn, _, from, err := unix.Recvmsg(fd, buf[4:], c.oob, unix.MSG_TRUNC)
	if err != nil {
		return pcapng.Packet{}, err
	}
	p := pcapng.Packet{Data: buf[4 : 4+min(n, len(buf)-4)], Length: n, Direction: pcapng.Inbound, Time: time.Now()}
	if ll, ok := from.(*unix.SockaddrLinklayer); ok && ll.Pkttype == unix.PACKET_OUTGOING {
		p.Direction = pcapng.Outbound
	}
	msgs, err := unix.ParseSocketControlMessage(c.oob[:oobn])
	if err != nil {
		return p, fmt.Errorf("control messages: %w", err)
	}
	for _, m := range msgs {
		switch {
		case m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= 16:
			p.Time = time.Unix(int64(binary.NativeEndian.Uint64(m.Data)), int64(binary.NativeEndian.Uint64(m.Data[8:])))
		case m.Header.Level == unix.SOL_PACKET && m.Header.Type == unix.PACKET_AUXDATA && len(m.Data) >= 20:
			restoreTag(&p, buf, m.Data)
		}
	}
	return p, nil
}

// restoreTag puts back the VLAN tag that the kernel keeps beside the frame (struct tpacket_auxdata).
func restoreTag(p *pcapng.Packet, buf, aux []byte) {
	status, tci, tpid := binary.NativeEndian.Uint32(aux), binary.NativeEndian.Uint16(aux[16:]), binary.NativeEndian.Uint16(aux[18:])
	if status&unix.TP_STATUS_VLAN_VALID == 0 || len(p.Data) < 12 {
		return
	}
	if status&unix.TP_STATUS_VLAN_TPID_VALID == 0 {
		tpid = unix.ETH_P_8021Q
	}
	copy(buf, buf[4:16]) // both addresses move to the front
	binary.BigEndian.PutUint16(buf[12:], tpid)
	binary.BigEndian.PutUint16(buf[14:], tci)
	p.Data = buf[:len(p.Data)+4]
	p.Length += 4
}

// countDropped asks the kernel once, which resets its count.
func (c *Capture) countDropped() error {
	rc, err := c.f.SyscallConn()
	if err != nil {
		return fmt.Errorf("capture: %w", err)
	}
	var st *unix.TpacketStats
	cerr := rc.Control(func(fd uintptr) {
		st, err = unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS)
	})
	if cerr != nil || err != nil {
		return fmt.Errorf("capture: read drop count: %w", errors.Join(cerr, err))
	}
	c.stats.Dropped = int64(st.Drops)
	return nil
}
