package transfer

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"sync"
)

// A datagram is a header of 32 bytes, all big endian, and content:
//
//	 0  magic "PLU1"
//	 4  kind: 0 data, 1 fin, 2 fin acknowledged
//	 8  serial number of a data datagram from 0; in a fin how many there were
//	16  offset of the content in the stream
//	24  length of the content
//	28  CRC-32C of the content
//
// The content of a fin is the SHA-256 of the whole stream, its offset field the stream's length.
const (
	datagramHeader = 32
	magic          = 0x504c5531
	maxDatagram    = 65507
)

const (
	kindData = iota
	kindFin
	kindFinAck
)

// castagnoli is made on first use, not in every start of an agent.
var castagnoli = sync.OnceValue(func() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) })

var (
	errNotDatagram = errors.New("not a datagram of ours")
	errChecksum    = errors.New("checksum of the content differs")
)

// datagram is one decoded datagram; content points into what it was decoded from.
type datagram struct {
	kind    uint32
	serial  uint64
	offset  uint64
	content []byte
}

// appendHeader appends the header of d; the content follows it.
func (d *datagram) appendHeader(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, magic)
	b = binary.BigEndian.AppendUint32(b, d.kind)
	b = binary.BigEndian.AppendUint64(b, d.serial)
	b = binary.BigEndian.AppendUint64(b, d.offset)
	b = binary.BigEndian.AppendUint32(b, uint32(len(d.content)))
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(d.content, castagnoli()))
}

func (d *datagram) append(b []byte) []byte { return append(d.appendHeader(b), d.content...) }

// decode takes a datagram apart. On errChecksum the header fields are filled in, though they may be damaged too.
func decode(b []byte) (datagram, error) {
	if len(b) < datagramHeader || binary.BigEndian.Uint32(b) != magic {
		return datagram{}, errNotDatagram
	}
	d := datagram{
		kind: binary.BigEndian.Uint32(b[4:]), serial: binary.BigEndian.Uint64(b[8:]), offset: binary.BigEndian.Uint64(b[16:]),
		content: b[datagramHeader:],
	}
	if uint64(binary.BigEndian.Uint32(b[24:])) != uint64(len(d.content)) {
		return d, errNotDatagram
	}
	if crc32.Checksum(d.content, castagnoli()) != binary.BigEndian.Uint32(b[28:]) {
		return d, errChecksum
	}
	return d, nil
}
