// Package packet is a port of a vale.Switch for any link of the kernel, by a packet socket: an attached NIC, or one end of a
// veth pair whose other end is the host. It needs CAP_NET_RAW in the link's network namespace, which an ordinary user has in
// a namespace of their own, and no device file: where /dev/net/tun may not be opened a veth pair takes the place of a tap.
//
// The link sees everything (promiscuous mode), and the kernel's own use of it is not prevented. Frames carry the header of
// virtio-net, so checksums and segmentation can be left to the kernel and by it to the guests. A VLAN tag that the kernel
// took out of a frame is put back.
//
// Limits: the socket's queue is as long as net.core.rmem_max lets it be; what comes faster is lost, as on any NIC.
// Source: packet(7), Linux 4.20 for PACKET_IGNORE_OUTGOING.
package packet

import (
	"encoding/binary"
	"fmt"
	"net"

	"golang.org/x/sys/unix"

	"picolab/hostctl/vale"
	"picolab/hostctl/vale/internal/vnethdr"
)

const (
	headSize = vnethdr.Size
	tagSize  = 4
	addrs    = 12 // bytes of a frame before a VLAN tag
	burst    = 64
	arena    = 4 * room
	room     = headSize + tagSize + vale.MaxFrame
	queue    = 8 << 20 // bytes asked for; see Limits
)

// New attaches to the link of that name in this network namespace. The link stays when the port is closed.
func New(name string) (vale.Port, error) {
	p := &port{name: name, memory: make([]byte, arena), control: make([]byte, unix.CmsgSpace(auxSize))}
	if err := p.open(); err != nil {
		return nil, fmt.Errorf("open link %s: %w", name, err)
	}
	return p, nil
}

type port struct {
	vnethdr.Port
	name    string
	memory  []byte
	control []byte
	iov     [2][]byte
}

// open makes a socket that hears nothing until it is bound, so that nothing comes before it is set up.
func (p *port) open() (err error) {
	link, err := net.InterfaceByName(p.name)
	if err != nil {
		return err
	}
	if p.FD, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
		return fmt.Errorf("make packet socket: %w", err)
	}
	if err = p.setUp(link.Index); err != nil {
		_ = unix.Close(p.FD)
	}
	return err
}

func (p *port) setUp(index int) error {
	for _, o := range []struct {
		name          string
		option, value int
	}{
		{"PACKET_VNET_HDR", unix.PACKET_VNET_HDR, 1}, {"PACKET_AUXDATA", unix.PACKET_AUXDATA, 1},
		{"PACKET_IGNORE_OUTGOING", unix.PACKET_IGNORE_OUTGOING, 1}, {"PACKET_QDISC_BYPASS", unix.PACKET_QDISC_BYPASS, 1},
	} {
		if err := unix.SetsockoptInt(p.FD, unix.SOL_PACKET, o.option, o.value); err != nil {
			return fmt.Errorf("%s: %w", o.name, err)
		}
	}
	if unix.SetsockoptInt(p.FD, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, queue) != nil { // for the real root only
		_ = unix.SetsockoptInt(p.FD, unix.SOL_SOCKET, unix.SO_RCVBUF, queue)
	}
	promisc := unix.PacketMreq{Ifindex: int32(index), Type: unix.PACKET_MR_PROMISC}
	if err := unix.SetsockoptPacketMreq(p.FD, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &promisc); err != nil {
		return fmt.Errorf("PACKET_MR_PROMISC: %w", err)
	}
	all := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL)) // network byte order
	if err := unix.Bind(p.FD, &unix.SockaddrLinklayer{Ifindex: index, Protocol: all}); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	return nil
}

// Receive reads frames into memory, one behind the other, each from a multiple of 64.
func (p *port) Receive(frames []vale.Frame) (n int, err error) {
	if p.Rest() {
		return 0, nil
	}
	frames = frames[:min(len(frames), burst)]
	p.Drained = false
	for at := 0; n < len(frames) && len(p.memory)-at >= room; {
		f, err := p.read(p.memory[at:][:room])
		if err == unix.EAGAIN {
			p.Drained = true
			break
		}
		if err != nil {
			return n, p.ended(err)
		}
		if len(f.Data) > 0 {
			frames[n] = f
			n, at = n+1, (at+headSize+len(f.Data)+tagSize+63)&^63
		}
	}
	p.Looked(n)
	return n, nil
}

// read reads one frame into b; one without data is none.
func (p *port) read(b []byte) (vale.Frame, error) {
	p.iov = [2][]byte{b[:headSize], b[headSize : headSize+vale.MaxFrame]}
	k, oob, _, _, err := unix.RecvmsgBuffers(p.FD, p.iov[:], p.control, 0)
	if err == unix.EINVAL { // of a frame whose offload the header has no word for
		return vale.Frame{}, nil
	}
	if err != nil || k <= headSize {
		return vale.Frame{}, err
	}
	f := vale.Frame{Header: vnethdr.Get(b), Data: b[headSize:k]}
	if tag, ok := tagOf(p.control[:oob]); ok {
		retag(&f, tag)
	}
	return f, nil
}

// ended says what an error means: ENETDOWN that the link is down and may come back, and ENXIO that it is gone.
func (p *port) ended(err error) error {
	if err == unix.ENETDOWN || err == unix.EINTR {
		p.Drained = true
		return nil
	}
	return fmt.Errorf("read link %s: %w", p.name, err)
}

func (p *port) Offloads() vale.Offloads { return vale.Csum | vale.TSO4 | vale.TSO6 | vale.ECN }
