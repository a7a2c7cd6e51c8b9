// Package pcapng writes and reads capture files (draft-ietf-opsawg-pcapng): one section, Ethernet interfaces, enhanced
// packet blocks with nanosecond times and direction flags, interface statistics at the end. The reader takes either byte
// order and skips blocks it does not know.
package pcapng

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

// Block types.
const (
	blockSection   = 0x0a0d0d0a
	blockInterface = 1
	blockStats     = 5
	blockEnhanced  = 6
	byteOrderMagic = 0x1a2b3c4d
)

// Options of blocks.
const (
	optEnd       = 0
	optIfName    = 2 // interface: its name
	optTsresol   = 9 // interface: times are in units of 10^-n s
	optUserAppl  = 4 // section: the writing program
	optFlags     = 2 // packet: direction
	optIfRecv    = 4 // statistics: packets received
	optIfDrop    = 5 // statistics: packets dropped
	linkEthernet = 1
)

// MaxPacket is the most bytes of one packet that a reader takes.
const MaxPacket = 1 << 20

// Direction of a packet as its interface saw it.
type Direction uint8

// Directions.
const (
	Unknown  Direction = 0
	Inbound  Direction = 1
	Outbound Direction = 2
)

// Packet is one captured frame.
type Packet struct {
	Time      time.Time
	Data      []byte
	Length    int // on the wire, when Data is cut
	Interface int
	Direction Direction
}

// Writer writes one section with one interface. Errors stick.
type Writer struct {
	w   io.Writer
	buf []byte
	err error
}

// NewWriter writes the headers. snaplen 0 means packets are whole.
func NewWriter(w io.Writer, iface string, snaplen int) (*Writer, error) {
	p := &Writer{w: w}
	p.block(blockSection, func(b []byte) []byte {
		b = binary.LittleEndian.AppendUint32(b, byteOrderMagic)
		b = binary.LittleEndian.AppendUint16(b, 1) // version 1.0
		b = binary.LittleEndian.AppendUint16(b, 0)
		b = binary.LittleEndian.AppendUint64(b, ^uint64(0)) // length unknown
		return endOptions(option(b, optUserAppl, []byte("picolab")))
	})
	p.block(blockInterface, func(b []byte) []byte {
		b = binary.LittleEndian.AppendUint16(b, linkEthernet)
		b = binary.LittleEndian.AppendUint16(b, 0)
		b = binary.LittleEndian.AppendUint32(b, uint32(snaplen))
		b = option(b, optIfName, []byte(iface))
		return endOptions(option(b, optTsresol, []byte{9}))
	})
	return p, p.err
}

// Write adds a packet; its Interface is ignored.
func (p *Writer) Write(pk Packet) error {
	p.block(blockEnhanced, func(b []byte) []byte {
		ns := uint64(pk.Time.UnixNano())
		b = binary.LittleEndian.AppendUint32(b, 0)
		b = binary.LittleEndian.AppendUint32(b, uint32(ns>>32))
		b = binary.LittleEndian.AppendUint32(b, uint32(ns))
		b = binary.LittleEndian.AppendUint32(b, uint32(len(pk.Data)))
		b = binary.LittleEndian.AppendUint32(b, uint32(max(pk.Length, len(pk.Data))))
		b = pad(append(b, pk.Data...))
		return endOptions(option(b, optFlags, binary.LittleEndian.AppendUint32(nil, uint32(pk.Direction))))
	})
	return p.err
}

// Close writes the counters of the interface. It does not close the underlying writer.
func (p *Writer) Close(received, dropped uint64) error {
	p.block(blockStats, func(b []byte) []byte {
		ns := uint64(time.Now().UnixNano())
		b = binary.LittleEndian.AppendUint32(b, 0)
		b = binary.LittleEndian.AppendUint32(b, uint32(ns>>32))
		b = binary.LittleEndian.AppendUint32(b, uint32(ns))
		b = option(b, optIfRecv, binary.LittleEndian.AppendUint64(nil, received))
		return endOptions(option(b, optIfDrop, binary.LittleEndian.AppendUint64(nil, dropped)))
	})
	return p.err
}

// block writes one block around a body whose length is a multiple of four.
func (p *Writer) block(kind uint32, body func([]byte) []byte) {
	if p.err != nil {
		return
	}
	b := binary.LittleEndian.AppendUint32(p.buf[:0], kind)
	b = body(append(b, 0, 0, 0, 0))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(b)+4))
	copy(b[4:], b[len(b)-4:])
	p.buf = b
	if _, err := p.w.Write(b); err != nil {
		p.err = fmt.Errorf("write capture: %w", err)
	}
}

func option(b []byte, code uint16, value []byte) []byte {
	b = binary.LittleEndian.AppendUint16(b, code)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(value)))
	return pad(append(b, value...))
}

func endOptions(b []byte) []byte { return append(b, optEnd, 0, 0, 0) }

// pad fills up to a multiple of four; blocks begin at one.
func pad(b []byte) []byte {
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}
