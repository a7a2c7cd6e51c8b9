package frontend

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// NeedReply asks for an acknowledgement.
const NeedReply = 8

// Conn is a front-end's connection to a back-end.
type Conn struct {
	t testing.TB
	*net.UnixConn
	fds []int
}

// Dial connects to the back-end at path. Everything is closed when the test ends, or by Close.
func Dial(t testing.TB, path string) *Conn {
	t.Helper()
	uc, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	return Over(t, uc)
}

// Over is Dial for a connection that exists.
func Over(t testing.TB, uc *net.UnixConn) *Conn {
	_ = uc.SetDeadline(time.Now().Add(30 * time.Second))
	c := &Conn{t: t, UnixConn: uc}
	t.Cleanup(c.close)
	return c
}

func (c *Conn) close() {
	_ = c.Close()
	for _, fd := range c.fds {
		_ = unix.Close(fd)
	}
	c.fds = nil
}

// Eventfd makes a descriptor for kicks or calls.
func (c *Conn) Eventfd() int {
	c.t.Helper()
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		c.t.Fatal(err)
	}
	c.fds = append(c.fds, fd)
	return fd
}

// Encode makes a message.
func Encode(request, flags uint32, payload []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, request)
	b = binary.LittleEndian.AppendUint32(b, 1|flags)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(payload)))
	return append(b, payload...)
}

// Send sends a message.
func (c *Conn) Send(request, flags uint32, payload []byte, fds ...int) error {
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	_, _, err := c.WriteMsgUnix(Encode(request, flags, payload), oob, nil)
	return err
}

// Recv receives a reply.
func (c *Conn) Recv() (request uint32, payload []byte, err error) {
	var h [12]byte
	if _, err := io.ReadFull(c, h[:]); err != nil {
		return 0, nil, err
	}
	if flags := binary.LittleEndian.Uint32(h[4:]); flags != 5 { // what QEMU insists on
		return 0, nil, fmt.Errorf("reply flags %#x", flags)
	}
	payload = make([]byte, binary.LittleEndian.Uint32(h[8:]))
	_, err = io.ReadFull(c, payload)
	return binary.LittleEndian.Uint32(h[:]), payload, err
}

// Call sends a message that is answered, and returns the answer's payload.
func (c *Conn) Call(request, flags uint32, payload []byte, fds ...int) []byte {
	c.t.Helper()
	if err := c.Send(request, flags, payload, fds...); err != nil {
		c.t.Fatalf("send %d: %v", request, err)
	}
	got, reply, err := c.Recv()
	if err != nil || got != request {
		c.t.Fatalf("reply to %d: message %d, %v", request, got, err)
	}
	return reply
}

// CallFD is Call for a reply that comes with a descriptor, which is closed with the connection.
func (c *Conn) CallFD(request uint32, payload []byte) (reply []byte, fd int) {
	c.t.Helper()
	if err := c.Send(request, 0, payload); err != nil {
		c.t.Fatalf("send %d: %v", request, err)
	}
	b, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := c.ReadMsgUnix(b, oob)
	if err != nil || n < 12 {
		c.t.Fatalf("reply to %d: %d bytes, %v", request, n, err)
	}
	messages, _ := unix.ParseSocketControlMessage(oob[:oobn])
	for i := range messages {
		fds, _ := unix.ParseUnixRights(&messages[i])
		c.fds = append(c.fds, fds...)
		if len(fds) == 1 {
			return b[12:n], fds[0]
		}
	}
	c.t.Fatalf("reply to %d without descriptor", request)
	return nil, -1
}

// Do sends a message with NEED_REPLY and fails the test unless it is acknowledged as done.
func (c *Conn) Do(request uint32, payload []byte, fds ...int) {
	c.t.Helper()
	if got := c.Try(request, payload, fds...); got != 0 {
		c.t.Fatalf("request %d failed: %d", request, got)
	}
}

// Try sends a message with NEED_REPLY and returns what is acknowledged: 0 for success.
func (c *Conn) Try(request uint32, payload []byte, fds ...int) uint64 {
	c.t.Helper()
	return binary.LittleEndian.Uint64(c.Call(request, NeedReply, payload, fds...))
}

// U64 and State encode payloads.
func U64(v uint64) []byte { return binary.LittleEndian.AppendUint64(nil, v) }

// State encodes a vring_state, or two words of anything else.
func State(index, num uint32) []byte {
	return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, index), num)
}

// Layout is a driver's ring of either layout.
type Layout interface {
	Entries() int
	Addr(index uint32) []byte
}

// Addr encodes a vring_addr.
func (r *Ring) Addr(index uint32) []byte { return vringAddr(r.Mem, index, r.Desc, r.Used, r.Avail) }

// vringAddr encodes a vring_addr without logging: the order is descriptors, device area, driver area.
func vringAddr(m *Memory, index uint32, offsets ...int) []byte {
	b := State(index, 0)
	for _, off := range offsets {
		b = binary.LittleEndian.AppendUint64(b, m.UVA+uint64(off))
	}
	return binary.LittleEndian.AppendUint64(b, 0)
}

// Negotiate does what front-ends do first, with the features given and REPLY_ACK among the protocol's.
func (c *Conn) Negotiate(features uint64) {
	c.t.Helper()
	c.Call(1, 0, nil)
	offered := binary.LittleEndian.Uint64(c.Call(15, 0, nil))
	if err := c.Send(16, 0, U64(offered)); err != nil {
		c.t.Fatal(err)
	}
	c.Do(3, nil)
	c.Do(2, U64(features|1<<30|1<<32))
}

// Share sends the memory as one region.
func (c *Conn) Share(m *Memory) {
	c.t.Helper()
	c.Do(37, append(make([]byte, 8), m.Region(uint64(len(m.Mem)))...), m.FD)
}

// Start sets up a ring and starts it; the descriptors are those to kick with and to be called on.
func (c *Conn) Start(index uint32, r Layout, base uint32) (kick, call int) {
	c.t.Helper()
	kick, call = c.Eventfd(), c.Eventfd()
	c.Do(8, State(index, uint32(r.Entries())))
	c.Do(10, State(index, base))
	c.Do(9, r.Addr(index))
	c.Do(13, U64(uint64(index)), call)
	c.Do(12, U64(uint64(index)), kick)
	c.Do(18, State(index, 1))
	return kick, call
}

// Stop stops a ring and returns where a successor has to begin.
func (c *Conn) Stop(index uint32) uint32 {
	c.t.Helper()
	return binary.LittleEndian.Uint32(c.Call(11, 0, State(index, 0))[4:])
}

// Kick tells the device of new buffers.
func Kick(fd int) { _, _ = unix.Write(fd, []byte{1, 0, 0, 0, 0, 0, 0, 0}) }

// Called reports whether the device has called since the last time.
func Called(fd int) bool {
	var b [8]byte
	n, _ := unix.Read(fd, b[:])
	return n == 8
}
