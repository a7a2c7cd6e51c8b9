// Package netmap is pktgen's port on netmap's own interface, /dev/netmap (netmap(4), API 14): network interfaces in
// netmap mode, VALE ports of the kernel's switch, pipes and monitors, on machines whose kernel has the module. Names are
// those of nm_open: eth0, eth0-2, eth0^, vale0:1, pipe{1. Frames of several slots are not made, and received ones are
// given as several frames.
package netmap

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"picolab/guestagent/load/pktgen"
)

// Device is where the module is.
const Device = "/dev/netmap"

// Port is a registered port.
type Port struct {
	name   string
	queues []*queue
	maps   []*mapping
}

// Open registers a port. With several threads each ring of the interface is a queue of its own.
func Open(_ context.Context, name string, use pktgen.Use) (pktgen.Port, error) {
	if _, err := os.Stat(Device); err != nil {
		return nil, fmt.Errorf("%s: the kernel has no netmap module: %w", Device, err)
	}
	request, err := parseName(name)
	if err != nil {
		return nil, err
	}
	p := &Port{name: request.name}
	if use.Queues > 1 && request.mode == modeAll {
		request.mode = modeOne
	}
	for i := range use.Queues {
		request.ring += uint16(min(i, 1)) // the name's own first, then those after it
		if err := p.register(request); err != nil {
			return nil, errors.Join(fmt.Errorf("register %s: %w", name, err), p.Close())
		}
		if request.mode != modeOne {
			break
		}
	}
	return p, nil
}

// register opens a descriptor and maps what it was given.
func (p *Port) register(r request) error {
	fd, err := unix.Open(Device, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	m, err := register(fd, r)
	if err != nil {
		return errors.Join(err, unix.Close(fd))
	}
	p.maps = append(p.maps, m)
	q, err := m.queue(r)
	if err != nil {
		return err
	}
	p.queues = append(p.queues, q)
	return nil
}

// request is what a name asks for.
type request struct {
	name string
	mode uint32
	ring uint16
}

// Modes of registration (enum in net/netmap.h).
const (
	modeAll  = 1 // all hardware rings
	modeHost = 2 // the host's
	modeBoth = 3
	modeOne  = 4
)

// parseName takes the suffixes of nm_open off: ^ the host's rings, * both, -N one ring. Names of pipes and monitors stay.
func parseName(name string) (request, error) {
	r := request{name: name, mode: modeAll}
	if rest, ok := strings.CutSuffix(name, "^"); ok {
		r.name, r.mode = rest, modeHost
	} else if rest, ok := strings.CutSuffix(name, "*"); ok {
		r.name, r.mode = rest, modeBoth
	} else if i := strings.LastIndexByte(name, '-'); i > 0 && !strings.ContainsAny(name, "{}/@") {
		n, err := strconv.ParseUint(name[i+1:], 10, 12)
		if err != nil {
			return r, fmt.Errorf("ring %q: not a number", name[i+1:])
		}
		r.name, r.mode, r.ring = name[:i], modeOne, uint16(n)
	}
	if r.name == "" || len(r.name) >= nameLen {
		return r, fmt.Errorf("name %q: empty or too long", name)
	}
	return r, nil
}

// Kind is netmap.
func (*Port) Kind() string { return "netmap" }

// Hardware is the address of an interface, zero of others.
func (p *Port) Hardware() (mac [6]byte) {
	if link, err := net.InterfaceByName(p.name); err == nil {
		copy(mac[:], link.HardwareAddr)
	}
	return mac
}

// Queues are the registrations.
func (p *Port) Queues() []pktgen.Queue {
	out := make([]pktgen.Queue, len(p.queues))
	for i, q := range p.queues {
		out[i] = q
	}
	return out
}

// Close unregisters.
func (p *Port) Close() error {
	var err error
	for _, m := range p.maps {
		err = errors.Join(err, m.close())
	}
	p.maps, p.queues = nil, nil
	return err
}
