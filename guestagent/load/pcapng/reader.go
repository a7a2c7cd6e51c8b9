package pcapng

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// maxBlock is the longest block a reader takes.
const maxBlock = MaxPacket + 64<<10

// Reader reads the packets of a capture file.
type Reader struct {
	r      io.Reader
	order  binary.ByteOrder
	ifaces []iface
	buf    []byte
}

type iface struct {
	name string
	unit time.Duration // of times, when unit is a whole number of ns
	tick float64       // of times in ns, otherwise
}

// NewReader reads from r, which should be buffered.
func NewReader(r io.Reader) *Reader { return &Reader{r: r} }

// Interface is the name of an interface of the current section, "" when it has none.
func (r *Reader) Interface(i int) string {
	if i < 0 || i >= len(r.ifaces) {
		return ""
	}
	return r.ifaces[i].name
}

// Next returns the next packet; io.EOF after the last one. Its data is valid until the next call.
func (r *Reader) Next() (Packet, error) {
	for {
		kind, body, err := r.block()
		if err != nil {
			return Packet{}, err
		}
		switch kind {
		case blockSection:
			r.ifaces = nil
		case blockInterface:
			err = r.addInterface(body)
		case blockEnhanced:
			return r.packet(body)
		}
		if err != nil {
			return Packet{}, err
		}
	}
}

// block reads one block's type and body.
func (r *Reader) block() (uint32, []byte, error) {
	var head [12]byte
	if _, err := io.ReadFull(r.r, head[:8]); err != nil {
		return 0, nil, err
	}
	if binary.LittleEndian.Uint32(head[:]) == blockSection { // the same in either order
		if _, err := io.ReadFull(r.r, head[8:]); err != nil {
			return 0, nil, unexpected(err)
		}
		return r.section(head)
	}
	if r.order == nil {
		return 0, nil, errors.New("capture: no section header")
	}
	body, err := r.body(r.order.Uint32(head[4:]), 8)
	return r.order.Uint32(head[:]), body, err
}

// section finds the byte order.
func (r *Reader) section(head [12]byte) (uint32, []byte, error) {
	switch uint32(byteOrderMagic) {
	case binary.LittleEndian.Uint32(head[8:]):
		r.order = binary.LittleEndian
	case binary.BigEndian.Uint32(head[8:]):
		r.order = binary.BigEndian
	default:
		return 0, nil, fmt.Errorf("capture: byte order mark %x", head[8:])
	}
	body, err := r.body(r.order.Uint32(head[4:]), 12)
	return blockSection, body, err
}

// body reads the rest of a block of which have bytes are read, and checks the length at its end.
func (r *Reader) body(length uint32, have int) ([]byte, error) {
	if length%4 != 0 || length < uint32(have+4) || length > maxBlock {
		return nil, fmt.Errorf("capture: block of %d bytes", length)
	}
	n := int(length) - have
	if cap(r.buf) < n {
		r.buf = make([]byte, n)
	}
	b := r.buf[:n]
	if _, err := io.ReadFull(r.r, b); err != nil {
		return nil, unexpected(err)
	}
	if tail := r.order.Uint32(b[n-4:]); tail != length {
		return nil, fmt.Errorf("capture: block of %d bytes ends as one of %d", length, tail)
	}
	return b[:n-4], nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (r *Reader) addInterface(b []byte) error {
	if len(b) < 8 {
		return errors.New("capture: short interface block")
	}
	i := iface{unit: time.Microsecond}
	r.options(b[8:], func(code uint16, v []byte) {
		switch {
		case code == optIfName:
			i.name = string(v)
		case code == optTsresol && len(v) == 1:
			i.unit, i.tick = resolution(v[0])
		}
	})
	r.ifaces = append(r.ifaces, i)
	return nil
}

// resolution is the unit of times: 10^-n s, or 2^-n with the highest bit set.
func resolution(v byte) (unit time.Duration, tick float64) {
	tick = 1e9
	base := 10.0
	if v&0x80 != 0 {
		base = 2
	}
	for range v & 0x7f {
		tick /= base
	}
	if tick >= 1 && tick == float64(int64(tick)) {
		return time.Duration(tick), 0
	}
	return 0, tick
}

func (i iface) time(ticks uint64) time.Time {
	if i.unit > 0 {
		per := uint64(time.Second / i.unit)
		return time.Unix(int64(ticks/per), int64(ticks%per)*int64(i.unit))
	}
	return time.Unix(0, int64(float64(ticks)*i.tick))
}

func (r *Reader) packet(b []byte) (Packet, error) {
	if len(b) < 20 {
		return Packet{}, errors.New("capture: short packet block")
	}
	id, n := r.order.Uint32(b), r.order.Uint32(b[12:])
	if uint64(id) >= uint64(len(r.ifaces)) {
		return Packet{}, fmt.Errorf("capture: packet of interface %d of %d", id, len(r.ifaces))
	}
	if uint64(n) > uint64(len(b)-20) {
		return Packet{}, fmt.Errorf("capture: packet of %d bytes in a block of %d", n, len(b))
	}
	p := Packet{Interface: int(id), Data: b[20 : 20+n], Length: int(r.order.Uint32(b[16:]))}
	p.Time = r.ifaces[id].time(uint64(r.order.Uint32(b[4:]))<<32 | uint64(r.order.Uint32(b[8:])))
	rest := min(20+(int(n)+3)/4*4, len(b))
	r.options(b[rest:], func(code uint16, v []byte) {
		if code == optFlags && len(v) == 4 {
			p.Direction = Direction(r.order.Uint32(v) & 3)
		}
	})
	return p, nil
}

// options calls each for every whole option.
func (r *Reader) options(b []byte, each func(code uint16, value []byte)) {
	for len(b) >= 4 {
		code, n := r.order.Uint16(b), int(r.order.Uint16(b[2:]))
		if code == optEnd || n > len(b)-4 {
			return
		}
		each(code, b[4:4+n])
		b = b[min(4+(n+3)/4*4, len(b)):]
	}
}
