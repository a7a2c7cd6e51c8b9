package vale

import (
	"encoding/binary"
	"math/bits"
)

// sum adds b, as big-endian 16-bit words, to the one's complement sum of before (RFC 1071). It works in 64 bits, which is
// the same modulo 2^16 - 1.
func sum(b []byte, before uint64) uint64 {
	acc, carry := before, uint64(0)
	for ; len(b) >= 32; b = b[32:] {
		acc, carry = bits.Add64(acc, binary.BigEndian.Uint64(b), 0)
		acc, carry = bits.Add64(acc, binary.BigEndian.Uint64(b[8:]), carry)
		acc, carry = bits.Add64(acc, binary.BigEndian.Uint64(b[16:]), carry)
		acc, carry = bits.Add64(acc, binary.BigEndian.Uint64(b[24:]), carry)
		acc, carry = bits.Add64(acc, 0, carry)
		acc += carry // cannot overflow again: it is 0 then
	}
	for ; len(b) >= 2; b = b[2:] {
		acc, carry = bits.Add64(acc, uint64(binary.BigEndian.Uint16(b)), 0)
		acc += carry
	}
	if len(b) == 1 {
		acc, carry = bits.Add64(acc, uint64(b[0])<<8, 0)
		acc += carry
	}
	return acc
}

// fold reduces a sum to 16 bits.
func fold(acc uint64) uint16 {
	acc = acc>>32 + acc&0xffffffff
	acc = acc>>32 + acc&0xffffffff
	acc = acc>>16 + acc&0xffff
	acc = acc>>16 + acc&0xffff
	return uint16(acc>>16 + acc&0xffff)
}

// putChecksum completes the checksum of b from start on, which is stored at start + offset, where the sum of the pseudo
// header is already. A result of 0 is written as 0xffff, which is the same number and means "none" to nobody (RFC 768).
func putChecksum(b []byte, start, offset int) {
	c := ^fold(sum(b[start:], 0))
	if c == 0 {
		c = 0xffff
	}
	binary.BigEndian.PutUint16(b[start+offset:], c)
}
