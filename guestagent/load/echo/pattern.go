package echo

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
)

// serialLen is how many bytes at the start of a payload hold the request's serial number, if it has that many.
const serialLen = 8

// pattern makes payloads that differ from request to request, so that a reply cannot pass for another one's.
type pattern struct {
	size  int
	base  []byte // 256 bytes longer than any payload
	frame []byte // ICMP header and payload, reused
}

func newPattern(size int) *pattern {
	p := &pattern{size: size, base: make([]byte, size+256), frame: make([]byte, headerLen+size)}
	var seed [32]byte
	_, _ = rand.NewChaCha8(seed).Read(p.base) // cannot fail
	return p
}

// of is a frame with the payload of request n and room for the header; it is valid until the next call.
func (p *pattern) of(n int64) []byte {
	b := p.frame[headerLen:]
	copy(b, p.base[n&0xff:])
	if p.size >= serialLen {
		binary.BigEndian.PutUint64(b, uint64(n))
	}
	return p.frame
}

// is says whether b is the payload of request n.
func (p *pattern) is(b []byte, n int64) bool {
	if len(b) != p.size {
		return false
	}
	off := 0
	if p.size >= serialLen {
		if binary.BigEndian.Uint64(b) != uint64(n) {
			return false
		}
		off = serialLen
	}
	return bytes.Equal(b[off:], p.base[int(n&0xff)+off:int(n&0xff)+p.size])
}

// serial is the number a payload claims; false when it is too short for one.
func (p *pattern) serial(b []byte) (int64, bool) {
	if p.size < serialLen || len(b) < serialLen {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(b)), true
}
