package switchboard

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"picolab/hostctl/internal/netdev"
	"picolab/hostctl/internal/nstest"
	"picolab/hostctl/vale"
	"picolab/hostctl/vale/hostip"
)

// TestHost: the kernel is on the switch, by a tap and by a veth pair, and nothing is left of either.
func TestHost(t *testing.T) {
	for name, open := range map[string]func(string) (vale.Port, string, error){
		"what there is": Host,
		"veth": func(name string) (vale.Port, string, error) {
			p, err := pair(name)
			return p, "veth", err
		},
	} {
		t.Run(name, func(t *testing.T) {
			nstest.Run(t, func() {
				p, how, err := open("sw0")
				if err != nil {
					t.Error(err)
					return
				}
				t.Log(how)
				reach(t, p)
				left, err := netdev.List()
				if err != nil || len(left) != 1 || left[0].Name != "lo" {
					t.Errorf("left are %+v, %v", left, err)
				}
			})
		})
	}
}

// reach pings the kernel, 192.0.2.1, through a switch and closes it.
func reach(t *testing.T, p vale.Port) {
	for _, args := range []string{"link set sw0 up", "addr add 192.0.2.1/24 dev sw0"} {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Errorf("ip %s: %v %s", args, err, out)
		}
	}
	s, err := vale.New(vale.Options{Logf: t.Logf})
	if err != nil {
		t.Error(err)
		return
	}
	h, err := hostip.New(hostip.Options{MAC: net.HardwareAddr{2, 0, 0, 0, 0, 9}, Addrs: []netip.Prefix{netip.MustParsePrefix("192.0.2.2/24")}})
	if err != nil {
		t.Error(err)
		return
	}
	if err := errors.Join(s.Attach("kernel", p), s.Attach("host", h.Port())); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := h.Ping(ctx, netip.MustParseAddr("192.0.2.1"), 1000); err != nil {
		t.Error(err)
	}
	if err := errors.Join(s.Close(), h.Close()); err != nil {
		t.Error(err)
	}
}

// TestHostRefuses: a name that is taken, and one that is none; what is there stays.
func TestHostRefuses(t *testing.T) {
	nstest.Run(t, func() {
		for _, name := range []string{"lo", "a-name-that-is-too-long"} {
			if p, _, err := Host(name); err == nil {
				t.Errorf("a netdev %q", name)
				_ = p.Close()
			}
			if p, err := pair(name); err == nil {
				t.Errorf("a veth pair %q", name)
				_ = p.Close()
			}
		}
		if !netdev.Exists("lo") {
			t.Error("lo is gone")
		}
	})
}
