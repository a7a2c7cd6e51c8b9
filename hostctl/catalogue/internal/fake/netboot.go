package fake

import (
	"errors"
	"os"
	"path/filepath"
	"slices"

	"picolab/hostctl/catalogue"
)

// netboot is the server of a fake link.
type netboot struct {
	lab  *Lab
	file string
	seen []string
	sent int
}

// Netboot implements catalogue.Booted.
func (l *Lab) Netboot(_, file string, _ []byte) (catalogue.Netboot, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.server != nil {
		return nil, errors.New("address already in use")
	}
	l.server = &netboot{lab: l, file: file}
	return l.server, nil
}

func (s *netboot) Seen() []string {
	s.lab.mu.Lock()
	defer s.lab.mu.Unlock()
	return append([]string(nil), s.seen...)
}

func (s *netboot) Sent() int {
	s.lab.mu.Lock()
	defer s.lab.mu.Unlock()
	return s.sent
}

func (s *netboot) Close() error {
	s.lab.mu.Lock()
	defer s.lab.mu.Unlock()
	s.lab.server = nil
	return nil
}

// Logs implements catalogue.Machine: guests without an image have a console.
func (n *node) Logs() map[string]string {
	if !n.Bare() {
		return nil
	}
	return map[string]string{"console.log": n.console()}
}

func (n *node) console() string { return filepath.Join(n.lab.dir, n.name+".console.log") }

// makeConsoles makes the files of guests without an image.
func (l *Lab) makeConsoles() error {
	for _, g := range l.guests {
		if !g.Bare() {
			continue
		}
		if err := os.MkdirAll(l.dir, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(g.console(), nil, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// reset has a guest boot from the network, as far as its card's ROM and the faults let it.
func (n *node) reset() error {
	rom, s, f := n.spec.NICs[0].ROM, n.lab.server, n.lab.Faults
	boots := rom == catalogue.ROMShipped || f.Haunted
	if !boots || s == nil || f.Bricked {
		return n.print(catalogue.NoDevice)
	}
	s.seen = append(s.seen, "DHCP DISCOVER")
	if f.NoTFTP {
		return n.print(catalogue.NoDevice)
	}
	s.seen = append(s.seen, "TFTP read of "+s.file)
	n.lab.show(n.lab.readRequest(n.cards[0].MAC, s.file))
	if f.Corrupt {
		return n.print("Exec format error\r\n" + catalogue.NoDevice)
	}
	s.sent++
	return n.print(catalogue.BootSays)
}

// readRequest is a frame with a TFTP read request.
func (l *Lab) readRequest(from, file string) []byte {
	const udp, version, protocol = 17, 0, 9
	ip := make([]byte, ipHeader)
	ip[version], ip[protocol] = 0x45, udp
	head := []byte{0x40, 0, 0, 69, 0, 0, 0, 0} // of UDP
	frame := slices.Concat(l.header(l.host.links[0].Mac, from, 0, etherIPv4), ip, head)
	return append(frame, "\x00\x01"+file+"\x00octet\x00"...)
}

// print has the firmware show something.
func (n *node) print(text string) error {
	f, err := os.OpenFile(n.console(), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(text + "\r\n")
	return err
}
