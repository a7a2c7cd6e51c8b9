package netperf

import (
	"os"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// enterNamespace gives the calling thread a network namespace with its loopback link up, in which closed connections do
// not wait (tcp(7), tcp_max_tw_buckets): after 28000 of TCP_CRR's there would be no port left for the next.
func enterNamespace() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/tcp_max_tw_buckets", []byte("0"), 0); err != nil {
		return err
	}
	// The original resolves addresses with AI_ADDRCONFIG, to which those of 127.0.0.0/8 are none.
	return bringUp("lo", "10.98.0.1/32")
}

// join links two namespaces by a veth pair and returns the address of the second.
func join(b *testing.B, first, second *namespace) string {
	b.Helper()
	var there int
	err := second.do(func() (err error) {
		there, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	defer os.NewFile(uintptr(there), "namespace").Close()
	err = first.do(func() error {
		veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "near"}, PeerName: "far", PeerNamespace: netlink.NsFd(there)}
		if err := netlink.LinkAdd(veth); err != nil {
			return err
		}
		return bringUp("near", "10.99.0.1/24")
	})
	if err == nil {
		err = second.do(func() error { return bringUp("far", "10.99.0.2/24") })
	}
	if err != nil {
		b.Fatal(err)
	}
	return "10.99.0.2"
}

func bringUp(name, address string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	a, err := netlink.ParseAddr(address)
	if err != nil {
		return err
	}
	if err := netlink.AddrAdd(l, a); err != nil {
		return err
	}
	return netlink.LinkSetUp(l)
}
