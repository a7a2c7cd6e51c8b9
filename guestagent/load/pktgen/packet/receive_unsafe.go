package packet

import (
	"encoding/binary"
	"fmt"
	"net"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The ring: frames in blocks of memory that is physically contiguous.
const (
	ringBytes  = 8 << 20
	ringBlock  = 1 << 17
	frameSpace = 128 // what the kernel needs beside the frame: struct tpacket2_hdr, sockaddr_ll, alignment
)

// receiver is a ring of TPACKET_V2 (Documentation/networking/packet_mmap).
type receiver struct {
	fd     int
	ring   []byte
	stride int
	slots  int
	next   int // slot
	taken  int // slots before next that the caller has
	drops  uint64
}

func newReceiver(fd int, link *net.Interface) (*receiver, error) {
	stride := 2048
	for stride < link.MTU+frameOverhead+frameSpace && stride < ringBlock {
		stride *= 2
	}
	if err := setReceiver(fd, link, stride); err != nil {
		return nil, err
	}
	ring, err := unix.Mmap(fd, 0, ringBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map packet ring: %w", err)
	}
	return &receiver{fd: fd, ring: ring, stride: stride, slots: ringBytes / stride}, nil
}

// setReceiver makes the ring, and the interface promiscuous for as long as the socket lives.
func setReceiver(fd int, link *net.Interface, stride int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V2); err != nil {
		return fmt.Errorf("packet ring: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_RESERVE, tagLen); err != nil {
		return fmt.Errorf("packet ring: %w", err)
	}
	// Older than Linux 4.20 the host's own frames come too.
	_ = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1)
	request := unix.TpacketReq{
		Block_size: ringBlock, Block_nr: ringBytes / ringBlock,
		Frame_size: uint32(stride), Frame_nr: uint32(ringBytes / stride),
	}
	_, _, e := syscall.Syscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_PACKET, unix.PACKET_RX_RING,
		uintptr(unsafe.Pointer(&request)), unsafe.Sizeof(request), 0)
	if e != 0 {
		return fmt.Errorf("packet ring of %d bytes: %w", ringBytes, e)
	}
	member := unix.PacketMreq{Ifindex: int32(link.Index), Type: unix.PACKET_MR_PROMISC}
	if err := unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &member); err != nil {
		return fmt.Errorf("make %s promiscuous: %w", link.Name, err)
	}
	return nil
}

func (r *receiver) close() error { return unix.Munmap(r.ring) }

// header is that of a slot; ring and stride keep it inside.
func (r *receiver) header(slot int) *unix.Tpacket2Hdr {
	b := r.ring[slot*r.stride : (slot+1)*r.stride]
	return (*unix.Tpacket2Hdr)(unsafe.Pointer(unsafe.SliceData(b)))
}

func (r *receiver) receive(frames [][]byte) int {
	n := 0
	for n < len(frames) && n < r.slots {
		h := r.header(r.next)
		if atomic.LoadUint32(&h.Status)&unix.TP_STATUS_USER == 0 {
			break
		}
		frames[n] = r.frame(h)
		r.next = (r.next + 1) % r.slots
		n++
	}
	r.taken = n
	return n
}

// frame is what slot next holds, with the VLAN tag back in its place that the kernel took out.
func (r *receiver) frame(h *unix.Tpacket2Hdr) []byte {
	start := r.next*r.stride + int(h.Mac)
	end := start + int(h.Snaplen)
	if atomic.LoadUint32(&h.Status)&unix.TP_STATUS_VLAN_VALID != 0 && h.Snaplen >= 2*ethernetAddress {
		start -= tagLen
		f := r.ring[start:]
		copy(f, f[tagLen:tagLen+2*ethernetAddress])
		binary.BigEndian.PutUint16(f[2*ethernetAddress:], tagType(h))
		binary.BigEndian.PutUint16(f[2*ethernetAddress+2:], h.Vlan_tci)
	}
	return r.ring[start:end:end]
}

const (
	ethernetAddress = 6
	tagLen          = 4
)

// tagType is the type of the tag, that of 802.1Q where the kernel does not tell.
func tagType(h *unix.Tpacket2Hdr) uint16 {
	if atomic.LoadUint32(&h.Status)&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
		return h.Vlan_tpid
	}
	return unix.ETH_P_8021Q
}

// release gives the slots back, the oldest first.
func (r *receiver) release() {
	for ; r.taken > 0; r.taken-- {
		h := r.header((r.next - r.taken + r.slots) % r.slots)
		atomic.StoreUint32(&h.Status, unix.TP_STATUS_KERNEL)
	}
}

// dropped is how many frames found the ring full. The kernel forgets the count when it is asked.
func (r *receiver) dropped() (uint64, error) {
	var s unix.TpacketStats
	length := uint32(unsafe.Sizeof(s))
	_, _, e := syscall.Syscall6(unix.SYS_GETSOCKOPT, uintptr(r.fd), unix.SOL_PACKET, unix.PACKET_STATISTICS,
		uintptr(unsafe.Pointer(&s)), uintptr(unsafe.Pointer(&length)), 0)
	if e != 0 {
		return r.drops, e
	}
	r.drops += uint64(s.Drops)
	return r.drops, nil
}
