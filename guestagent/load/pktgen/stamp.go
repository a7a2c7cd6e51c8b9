package pktgen

import (
	"encoding/binary"
	"hash/crc32"
)

// The payload of txseq: the sequence number (big endian, as in the original), the mark of the hash, and the CRC-32C of
// the payload without these four bytes. Addresses are not in it, so that they may be translated on the way.
const (
	markAt   = 4
	hashAt   = 8
	hashEnd  = 12
	hashMark = 0x70694c62 // "piLb"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// payloadHash is of a payload of at least hashEnd bytes.
func payloadHash(p []byte) uint32 {
	return crc32.Update(crc32.Checksum(p[:hashAt], castagnoli), castagnoli, p[hashEnd:])
}

// number writes a sequence number, and the hash when there is room for it.
func (t *template) number(seq uint32) {
	at := t.payload()
	if !t.headerSums || len(t.frame) < at+4 {
		return
	}
	t.put32(at, seq)
	if len(t.frame) >= at+hashEnd {
		t.put32(at+markAt, hashMark)
		t.put32(at+hashAt, payloadHash(t.frame[at:]))
	}
}

// stamp writes what ping sends: number and time, in the byte order of the machine, as the original does.
func (t *template) stamp(seq, sec, nsec uint32) {
	at := t.payload()
	for i, v := range [3]uint32{seq, sec, nsec} {
		var b [4]byte
		binary.NativeEndian.PutUint32(b[:], v)
		t.put32(at+4*i, binary.BigEndian.Uint32(b[:]))
	}
}

// stampLen is how much payload a stamp takes.
const stampLen = 12

// readStamp reads what ping sent.
func readStamp(payload []byte) (seq, sec, nsec uint32, ok bool) {
	if len(payload) < stampLen {
		return 0, 0, 0, false
	}
	n := binary.NativeEndian
	return n.Uint32(payload), n.Uint32(payload[4:]), n.Uint32(payload[8:]), true
}

// verdict on one frame of a sequence.
type verdict int

const (
	foreign verdict = iota // no UDP, or too short to have a number
	corrupt
	sound
)

// readNumber takes the sequence number from a frame and checks its hash, or, when it has none, its UDP checksum.
func readNumber(frame []byte) (uint32, verdict) {
	d, ok := parse(frame)
	if !ok || len(d.payload()) < 4 {
		return 0, foreign
	}
	p := d.payload()
	seq := binary.BigEndian.Uint32(p)
	good := false
	if len(p) >= hashEnd && binary.BigEndian.Uint32(p[markAt:]) == hashMark {
		good = binary.BigEndian.Uint32(p[hashAt:]) == payloadHash(p)
	} else {
		good = d.sound()
	}
	if !good {
		return seq, corrupt
	}
	return seq, sound
}
