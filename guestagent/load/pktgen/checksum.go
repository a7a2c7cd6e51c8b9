package pktgen

import "encoding/binary"

// sum16 is the ones' complement sum (RFC 1071) of b, which starts at an even offset, on top of sum, unfolded.
func sum16(b []byte, sum uint64) uint64 {
	for ; len(b) >= 4; b = b[4:] {
		sum += uint64(binary.BigEndian.Uint32(b))
	}
	if len(b) >= 2 {
		sum += uint64(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		sum += uint64(b[0]) << 8
	}
	return sum
}

// fold makes a sum 16 bits wide.
func fold(sum uint64) uint16 {
	for sum>>16 != 0 {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

// adjust is a checksum after a word it covers went from old to new (RFC 1624, equation 3). A UDP checksum of 0 would
// mean there is none, so the other zero is used, which no sum tells apart (RFC 768).
func adjust(checksum, old, new uint16) uint16 {
	c := ^fold(uint64(^checksum) + uint64(^old) + uint64(new))
	if c == 0 {
		return 0xffff
	}
	return c
}

// pseudoSum is the sum over the pseudo header of a UDP datagram (RFC 768, RFC 8200 section 8.1).
func pseudoSum(src, dst []byte, length int) uint64 {
	return sum16(src, sum16(dst, protocolUDP+uint64(length)))
}
