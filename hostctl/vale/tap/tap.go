// Package tap is a port of a vale.Switch for a tap link of the kernel: the host itself, a bridge, anything that can be done
// with a link. Frames carry the header of virtio-net, so checksums and segmentation can be left to the kernel and by it to
// the guests.
//
// Limits: one queue. Source: Documentation/networking/tuntap.rst.
package tap

import (
	"fmt"

	"golang.org/x/sys/unix"

	"picolab/hostctl/vale"
	"picolab/hostctl/vale/internal/vnethdr"
)

const (
	cloneDevice = "/dev/net/tun"
	headSize    = vnethdr.Size // the kernel's default
	burst       = 64
	arena       = 4 * (headSize + vale.MaxFrame)
)

// What the kernel may leave undone in frames for us (linux/if_tun.h).
const (
	featCsum = 1 << iota
	featTSO4
	featTSO6
	featECN
	featUFO
	featUSO4
	featUSO6
	featTCP = featCsum | featTSO4 | featTSO6 | featECN
	featUSO = featUSO4 | featUSO6 // since Linux 6.2
)

// New attaches to the tap of that name in this network namespace, which it makes if there is none (and which then goes with
// the port), and brings it up.
func New(name string) (vale.Port, error) {
	p := &port{name: name, offloads: vale.Csum | vale.TSO4 | vale.TSO6 | vale.ECN, memory: make([]byte, arena)}
	if err := p.open(); err != nil {
		return nil, fmt.Errorf("open tap %s: %w", name, err)
	}
	return p, nil
}

type port struct {
	vnethdr.Port
	name     string
	offloads vale.Offloads
	memory   []byte
}

func (p *port) open() (err error) {
	if p.FD, err = unix.Open(cloneDevice, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0); err != nil {
		return fmt.Errorf("open %s: %w", cloneDevice, err)
	}
	if err = p.setUp(); err != nil {
		_ = unix.Close(p.FD)
	}
	return err
}

func (p *port) setUp() error {
	req, err := unix.NewIfreq(p.name)
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(p.FD, unix.TUNSETIFF, req); err != nil {
		return fmt.Errorf("TUNSETIFF: %w", err)
	}
	// A tap that lasts may have been left with another size.
	if err := unix.IoctlSetPointerInt(p.FD, unix.TUNSETVNETHDRSZ, headSize); err != nil {
		return fmt.Errorf("TUNSETVNETHDRSZ: %w", err)
	}
	if unix.IoctlSetInt(p.FD, unix.TUNSETOFFLOAD, featTCP|featUSO) == nil {
		p.offloads |= vale.USO
	} else if err := unix.IoctlSetInt(p.FD, unix.TUNSETOFFLOAD, featTCP); err != nil {
		return fmt.Errorf("TUNSETOFFLOAD: %w", err)
	}
	return p.bringUp()
}

// bringUp sets the link up, for which it takes any socket.
func (p *port) bringUp() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("make socket: %w", err)
	}
	defer unix.Close(s)
	req, err := unix.NewIfreq(p.name)
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(s, unix.SIOCGIFFLAGS, req); err != nil {
		return fmt.Errorf("SIOCGIFFLAGS: %w", err)
	}
	req.SetUint16(req.Uint16() | unix.IFF_UP)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, req); err != nil {
		return fmt.Errorf("SIOCSIFFLAGS: %w", err)
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
	for at := 0; n < len(frames) && len(p.memory)-at >= headSize+vale.MaxFrame; {
		b := p.memory[at:][:headSize+vale.MaxFrame]
		k, err := unix.Read(p.FD, b)
		if err == unix.EAGAIN {
			p.Drained = true
			break
		}
		if err != nil {
			return n, p.ended(err)
		}
		if k > headSize {
			frames[n] = vale.Frame{Header: vnethdr.Get(b), Data: b[headSize:k:k]}
			n, at = n+1, (at+k+63)&^63
		}
	}
	p.Looked(n)
	return n, nil
}

// ended says what an error of read means: EIO that the link is down, EBADFD that it is gone.
func (p *port) ended(err error) error {
	if err == unix.EIO || err == unix.EINTR {
		p.Drained = true
		return nil
	}
	return fmt.Errorf("read tap %s: %w", p.name, err)
}

func (p *port) Offloads() vale.Offloads { return p.offloads }
