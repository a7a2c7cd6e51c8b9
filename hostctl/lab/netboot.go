package lab

import (
	"fmt"
	"net/netip"

	"picolab/hostctl/internal/netboot"
)

// A Netboot gives addresses and a boot file to the guests of a link; it runs until Close.
type Netboot = netboot.Server

// Netboot serves one file to what boots from a link: by DHCP each NIC gets the address that is planned for it, by TFTP the
// file. The link needs an address of the host.
func (l *Lab) Netboot(link, file string, data []byte) (*Netboot, error) {
	n := l.Link(link)
	if n == nil || !n.Host().IsValid() {
		return nil, &SpecError{Problems: []string{fmt.Sprintf("no link is called %q and has an address of the host", link)}}
	}
	o := netboot.Options{Link: n.Bridge(), Server: n.Host(), File: file, Data: data, Logf: l.logf, Leases: map[string]netip.Prefix{}}
	for _, v := range l.vms {
		for i, c := range v.spec.NICs {
			if c.Link == link {
				o.Leases[v.MAC(i)] = v.Addr(i)
			}
		}
	}
	s, err := netboot.Start(o)
	if err != nil {
		return nil, infra("serve link %s: %w", link, err)
	}
	return s, nil
}
