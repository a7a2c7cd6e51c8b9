package site

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Network is network.yaml:
//
//	hostname: lab7
//	mirror: http://192.0.2.1/debian     # PICOLAB_MIRROR of every program
//	dns: [192.0.2.53]                   # before those that DHCP brings
//	search: [lab.example]
//	dhcp: false                         # of interfaces not named below; default true
//	interfaces:
//	  eth0:                             # a name, or a MAC address
//	    addresses: [192.0.2.7/24, 2001:db8::7/64]
//	    gateways: [192.0.2.1]
//	    mtu: 9000
//	    vlans:
//	      - id: 100                     # becomes eth0.100
//	        dhcp: true
//
// An interface with addresses asks no DHCP server unless it says dhcp: true.
type Network struct {
	Hostname   string               `yaml:"hostname"`
	Mirror     string               `yaml:"mirror"`
	DNS        []string             `yaml:"dns"`
	Search     []string             `yaml:"search"`
	DHCP       *bool                `yaml:"dhcp"`
	Interfaces map[string]Interface `yaml:"interfaces"`
}

// Interface is how one interface is set up.
type Interface struct {
	DHCP      *bool    `yaml:"dhcp"`
	Addresses []string `yaml:"addresses"` // with prefix length
	Gateways  []string `yaml:"gateways"`  // of the default route, one for each family
	MTU       int      `yaml:"mtu"`       // bytes; 0 = as it is
	VLANs     []VLAN   `yaml:"vlans"`
}

// VLAN is a tagged interface on top of another.
type VLAN struct {
	ID        int      `yaml:"id"` // 1 to 4094
	DHCP      *bool    `yaml:"dhcp"`
	Addresses []string `yaml:"addresses"`
	Gateways  []string `yaml:"gateways"`
	MTU       int      `yaml:"mtu"`
}

// plain is the VLAN as an interface.
func (v VLAN) plain() Interface {
	return Interface{DHCP: v.DHCP, Addresses: v.Addresses, Gateways: v.Gateways, MTU: v.MTU}
}

// dhcp says whether the interface is to ask a DHCP server.
func (i Interface) dhcp(fallback bool) bool {
	if i.DHCP != nil {
		return *i.DHCP
	}
	return len(i.Addresses) == 0 && fallback
}

// dhcp says whether interfaces that are not named ask a DHCP server.
func (n Network) dhcp() bool { return n.DHCP == nil || *n.DHCP }

// of is what the text says of an interface, by its name, else by its address.
func (n Network) of(name, mac string) Interface {
	if i, ok := n.Interfaces[name]; ok {
		return i
	}
	for key, i := range n.Interfaces {
		if hw, err := net.ParseMAC(key); err == nil && hw.String() == mac {
			return i
		}
	}
	return Interface{}
}

// ParseNetwork reads network.yaml. A text with any fault in it gives the zero Network: half a configuration of a network
// surprises more than none. The error joins *TextError.
func ParseNetwork(data []byte) (Network, error) {
	var n Network
	t, err := decode("network.yaml", data, &n)
	if err == nil {
		err = n.check(t)
	}
	if err != nil {
		return Network{}, err
	}
	return n, nil
}

// hostName is RFC 1123 section 2.1, one label or more. It is compiled when it is needed: the agent of every guest has this
// package, and its start is waited for.
var hostName = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$`)
})

func (n Network) check(t text) error {
	var errs []error
	bad := func(steps []any, format string, args ...any) {
		errs = append(errs, t.fault(fmt.Errorf(format, args...), steps...))
	}
	if n.Hostname != "" && (!hostName().MatchString(n.Hostname) || len(n.Hostname) > 64) {
		bad([]any{"hostname"}, "%q is no host name", n.Hostname)
	}
	if u, err := url.Parse(n.Mirror); n.Mirror != "" && (err != nil || u.Host == "") {
		bad([]any{"mirror"}, "%q is no URL", n.Mirror)
	}
	for i, a := range n.DNS {
		if _, err := netip.ParseAddr(a); err != nil {
			bad([]any{"dns", i}, "%q is no address", a)
		}
	}
	for i, d := range n.Search {
		if !hostName().MatchString(d) {
			bad([]any{"search", i}, "%q is no domain", d)
		}
	}
	for _, name := range sortedKeys(n.Interfaces) {
		n.Interfaces[name].check(bad, name)
	}
	return errors.Join(errs...)
}

type complain func(steps []any, format string, args ...any)

func (i Interface) check(bad complain, name string) {
	at := []any{"interfaces", name}
	if _, err := net.ParseMAC(name); err != nil && !linkName(name) {
		bad(at, "%q is neither the name of an interface nor a MAC address", name)
	}
	i.checkAddresses(bad, at)
	for k, v := range i.VLANs {
		at := append(slices.Clone(at), "vlans", k)
		if v.ID < 1 || v.ID > 4094 {
			bad(at, "VLAN id %d is not of 1 to 4094", v.ID)
		}
		v.plain().checkAddresses(bad, at)
	}
}

func (i Interface) checkAddresses(bad complain, at []any) {
	step := func(more ...any) []any { return append(slices.Clone(at), more...) }
	for k, a := range i.Addresses {
		if _, err := netip.ParsePrefix(a); err != nil {
			bad(step("addresses", k), "%q is no address with its prefix length, such as 192.0.2.7/24", a)
		}
	}
	for k, g := range i.Gateways {
		if _, err := netip.ParseAddr(g); err != nil {
			bad(step("gateways", k), "%q is no address", g)
		}
	}
	if i.MTU != 0 && (i.MTU < 68 || i.MTU > 65535) {
		bad(step("mtu"), "an MTU of %d is not of 68 to 65535", i.MTU)
	}
}

// linkName says whether the kernel takes a name for an interface (dev_valid_name).
func linkName(name string) bool {
	return name != "" && len(name) <= 15 && name != "." && name != ".." && !strings.ContainsAny(name, "/: \t\n")
}
