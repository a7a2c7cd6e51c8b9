package netperf

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"picolab/guestagent/load/getopt"
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
	rest, err := getopt.Parse(args, o.flags())
	if err != nil {
		return nil, err
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("argument %q: not expected", rest[0])
	}
	if o.Port > 65535 {
		return nil, fmt.Errorf("port %d: 0 to 65535", o.Port)
	}
	return o, nil
}

func (o *ServerOptions) flags() []getopt.Option {
	many := func(v string) error { return setInt(&o.Server.MaxClients, v, 1) }
	return []getopt.Option{
		getopt.Value('p', "port", "to listen on (12865); 0 is any", func(v string) error { return setInt(&o.Port, v, 0) }),
		getopt.Value('L', "addr[,4|6]", "address to listen on, all unless given", o.setAddress),
		getopt.Flag('4', "IPv4 only", func() { o.Family = familyV4 }),
		getopt.Flag('6', "IPv6 only", func() { o.Family = familyV6 }),
		long("allow", getopt.Value(0, "nets", "clients that are served: networks (192.0.2.0/24) or\naddresses, with commas; all unless given. Data connections\n"+
			"come from the client's own address or from one of these.", o.allow)),
		long("clients", getopt.Value(0, "n", "served at once (64); more wait", many)),
		getopt.Flag('f', "one client at a time", func() { o.Server.MaxClients = 1 }),
		getopt.Flag('N', "say nothing of what goes wrong with clients", func() { o.Quiet = true }),
		getopt.Flag('D', "taken, without effect: it stays in the foreground", func() {}),
		getopt.Flag('d', "", func() {}),
		getopt.Value('v', "n", "taken, without effect", func(string) error { return nil }),
		getopt.Flag('V', "version", func() { o.Version = true }),
		long("help", getopt.Flag('h', "this", func() { o.Help = true })),
	}
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

// Listen opens the socket that Server.Serve takes.
func (o *ServerOptions) Listen() (*net.TCPListener, error) {
	network := network(o.Family)
	a, err := net.ResolveTCPAddr(network, net.JoinHostPort(o.Address, strconv.Itoa(o.Port)))
	if err != nil {
		return nil, fmt.Errorf("resolve address to listen on: %w", err)
	}
	l, err := net.ListenTCP(network, a)
	if err != nil {
		return nil, fmt.Errorf("listen for clients: %w", err)
	}
	return l, nil
}

// Run listens and serves until ctx ends. What goes wrong with clients is told on stderr.
func (o *ServerOptions) Run(ctx context.Context, stdout, stderr io.Writer) error {
	l, err := o.Listen()
	if err != nil {
		return err
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
