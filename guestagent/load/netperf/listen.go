package netperf

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
)

// ServerOptions are a command line of netserver.
type ServerOptions struct {
	Server  Server
	Address string // to listen on, "" any
	Family  int    // 4, 6 or 0
	Port    int
	Quiet   bool
	Help    bool
	Version bool
}

// ParseServerOptions reads netserver's arguments. It always stays in the foreground, as -D asks the original to.
func ParseServerOptions(args []string) (*ServerOptions, error) {
	o := &ServerOptions{Port: Port}
	f := flag.NewFlagSet("netserver", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	ignore := func(string) error { return nil }
	f.BoolFunc("D", "", ignore)
	f.BoolFunc("f", "", func(string) error { o.Server.MaxClients = 1; return nil })
	f.BoolFunc("4", "", func(string) error { o.Family = familyV4; return nil })
	f.BoolFunc("6", "", func(string) error { o.Family = familyV6; return nil })
	f.BoolVar(&o.Quiet, "N", false, "")
	f.BoolVar(&o.Version, "V", false, "")
	f.BoolVar(&o.Help, "h", false, "")
	f.BoolVar(&o.Help, "help", false, "")
	f.Func("p", "", func(v string) error { return setInt(&o.Port, v, 0) })
	f.Func("v", "", ignore)
	f.Func("L", "", o.setAddress)
	f.Func("allow", "", o.allow)
	f.Func("clients", "", func(v string) error { return setInt(&o.Server.MaxClients, v, 1) })
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("argument %q: not expected", f.Arg(0))
	}
	if o.Port > 65535 {
		return nil, fmt.Errorf("port %d: 0 to 65535", o.Port)
	}
	return o, nil
}

func (o *ServerOptions) setAddress(v string) error {
	h := Options{}
	err := h.setHost(&o.Address, v)
	if h.Config.Family != 0 {
		o.Family = h.Config.Family
	}
	return err
}

// allow takes prefixes or addresses, with commas.
func (o *ServerOptions) allow(v string) error {
	for s := range strings.SplitSeq(v, ",") {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			a, aerr := netip.ParseAddr(s)
			if aerr != nil {
				return fmt.Errorf("%q is neither a network nor an address", s)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		o.Server.Allow = append(o.Server.Allow, p.Masked())
	}
	return nil
}

// Run listens and serves until ctx ends. What goes wrong with clients is told on stderr.
func (o *ServerOptions) Run(ctx context.Context, stdout, stderr io.Writer) error {
	network := network(o.Family)
	a, err := net.ResolveTCPAddr(network, net.JoinHostPort(o.Address, strconv.Itoa(o.Port)))
	if err != nil {
		return fmt.Errorf("resolve address to listen on: %w", err)
	}
	l, err := net.ListenTCP(network, a)
	if err != nil {
		return fmt.Errorf("listen for clients: %w", err)
	}
	if !o.Quiet {
		var mu sync.Mutex
		o.Server.Log = func(format string, args ...any) {
			mu.Lock()
			defer mu.Unlock()
			fmt.Fprintf(stderr, "netserver: "+format+"\n", args...)
		}
	}
	if err := writeLine(stdout, fmt.Sprintf("Starting netserver at %s", l.Addr())); err != nil {
		_ = l.Close()
		return err
	}
	return o.Server.Serve(ctx, l)
}
