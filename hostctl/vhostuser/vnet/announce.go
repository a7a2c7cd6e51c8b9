package vnet

import "encoding/binary"

// rarpSize is the length of the shortest Ethernet frame, without its check sequence.
const rarpSize = 60

// speak makes f, which is of that length, the frame that tells the network where the guest is, and returns how many frames that
// is: none if somebody else was faster. It asks for the guest's own address, which nobody will tell, as QEMU does on behalf of
// guests (RFC 903).
func (p *Port) speak(f *Frame) int {
	mac := p.announce.Swap(nil)
	if mac == nil {
		return 0
	}
	b := f.Data
	clear(b)
	for i := range 6 {
		b[i] = 0xff
	}
	copy(b[6:], mac[:])
	for i, v := range [...]uint16{0x8035, 1, 0x0800, 0x0604, 3} { // RARP; Ethernet, IPv4, lengths, request reverse
		binary.BigEndian.PutUint16(b[12+2*i:], v)
	}
	copy(b[22:], mac[:])
	copy(b[32:], mac[:])
	f.Header, f.Data = Header{}, b
	return 1
}
