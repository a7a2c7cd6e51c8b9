// Package capture records the frames of a link through an AF_PACKET socket (packet(7)): whole frames with kernel
// timestamps in nanoseconds, their direction, their VLAN tag put back, and the number the kernel had to drop. Filters run
// in the kernel, see package pcapfilter. A frame that the loopback link delivers is seen once.
//
// Command is the capture command, with tcpdump's letters for its options; it writes pcapng, into one file or a ring.
package capture

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"picolab/guestagent/load/pcapfilter"
	"picolab/guestagent/load/pcapng"

	"golang.org/x/sys/unix"
)

const (
	maxFrame      = 1 << 17 // more than any GSO frame with its header
	defaultBuffer = 32 << 20
)

// Options is what to capture.
type Options struct {
	Link    string
	Snaplen int    // bytes of each frame that are kept; 0: all
	Filter  string // as package pcapfilter has it; "": everything
	Promisc bool
	Packets int64 // stop after so many; 0 = no limit
	Bytes   int64 // and so many on the wire
	Buffer  int   // bytes that may wait in the kernel; 0: 32 MiB
}

// Stats counts the frames that the filter took: recorded, and dropped by the kernel for want of room. Bytes and Largest
// are lengths on the wire.
type Stats struct {
	Packets, Dropped, Bytes, Largest int64
}

// ErrEnough is for a Sink to end the capture without an error.
var ErrEnough = errors.New("enough captured")

// Sink takes frames. Flush is called when no frame waits.
type Sink interface {
	Write(pcapng.Packet) error
	Flush() error
}

// Capture is an open capture: frames wait in the kernel until Run takes them.
type Capture struct {
	o    Options
	f    *os.File
	stop atomic.Bool
	oob  []byte

	packets, bytes, largest, dropped atomic.Int64
}

// Open binds to the link; what passes it from now on is seen.
func Open(o Options) (*Capture, error) {
	if _, err := pcapfilter.Parse(o.Filter); err != nil {
		return nil, err
	}
	ifi, err := net.InterfaceByName(o.Link)
	if err != nil {
		return nil, fmt.Errorf("capture on %s: %w", o.Link, unix.ENODEV)
	}
	program, err := compile(o, ifi)
	if err != nil {
		return nil, err
	}
	// protocol 0: nothing is received before the socket is bound to the link
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("capture on %s: open socket: %w", o.Link, err)
	}
	c := &Capture{o: o, f: os.NewFile(uintptr(fd), "packets"), oob: make([]byte, 512)}
	err = attach(fd, program)
	if err == nil {
		err = prepare(fd, ifi.Index, &o)
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("capture on %s: %w", o.Link, err)
	}
	return c, nil
}

// compile makes the kernel's filter, nil for none. Loopback links show what leaves them a second time as it arrives.
func compile(o Options, ifi *net.Interface) ([]unix.SockFilter, error) {
	text := o.Filter
	if ifi.Flags&net.FlagLoopback != 0 {
		if text = "inbound"; strings.TrimSpace(o.Filter) != "" {
			text = "inbound and (" + o.Filter + ")"
		}
	}
	f, err := pcapfilter.Parse(text)
	if err != nil || strings.TrimSpace(text) == "" && o.Snaplen <= 0 {
		return nil, err
	}
	take := uint32(pcapfilter.Whole)
	if o.Snaplen > 0 {
		take = uint32(o.Snaplen)
	}
	raw, err := f.Assemble(take)
	if err != nil {
		return nil, err
	}
	program := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		program[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return program, nil
}

func attach(fd int, program []unix.SockFilter) error {
	if len(program) == 0 {
		return nil
	}
	p := &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, p); err != nil {
		return fmt.Errorf("attach filter: %w", err)
	}
	return nil
}

func prepare(fd, index int, o *Options) error {
	buffer := cmp.Or(o.Buffer, defaultBuffer)
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, buffer) // what the limit gives
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return fmt.Errorf("set timestamps: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1); err != nil {
		return fmt.Errorf("set auxiliary data: %w", err)
	}
	if o.Promisc {
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
	if errors.Is(err, ErrEnough) {
		err = nil
	}
	err = errors.Join(err, sink.Flush(), c.countDropped())
	return c.Stats(), err
}

// Stats are the counts so far, from any goroutine; Dropped is known at the end.
func (c *Capture) Stats() Stats {
	return Stats{Packets: c.packets.Load(), Dropped: c.dropped.Load(), Bytes: c.bytes.Load(), Largest: c.largest.Load()}
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
		stopped := c.stop.Load() // what came before Stop is there when it is looked for after this, and not only after a flush
		if cerr := rc.Control(func(fd uintptr) { try(fd) }); cerr != nil {
			return nil, fmt.Errorf("capture: %w", cerr)
		}
		if errors.Is(err, unix.EAGAIN) {
			if ferr := sink.Flush(); ferr != nil || stopped {
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
	return c.o.Packets > 0 && c.packets.Load() >= c.o.Packets || c.o.Bytes > 0 && c.bytes.Load() >= c.o.Bytes
}

// take hands on one frame and counts it.
func (c *Capture) take(p pcapng.Packet, sink Sink) error {
	if c.o.Snaplen > 0 && len(p.Data) > c.o.Snaplen {
		p.Data = p.Data[:c.o.Snaplen]
	}
	if err := sink.Write(p); err != nil {
		return err
	}
	c.packets.Add(1)
	c.bytes.Add(int64(p.Length))
	c.largest.Store(max(c.largest.Load(), int64(p.Length)))
	return nil
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
			p.Length = max(int(binary.NativeEndian.Uint32(m.Data[4:])), n) // tp_len: before the filter cut it
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
	c.dropped.Store(int64(st.Drops))
	return nil
}
