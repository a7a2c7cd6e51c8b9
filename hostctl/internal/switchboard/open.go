package switchboard

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"picolab/guestagent/load/memif"
	"picolab/hostctl/vale"
	"picolab/hostctl/vale/packet"
	"picolab/hostctl/vale/stream"
	"picolab/hostctl/vale/tap"
	"picolab/hostctl/vhostuser"
)

// Kinds describes the texts that Open understands, a line each.
const Kinds = `vhost-user:PATH[,server|client][,queues=N]  a guest's virtio-net; QEMU: -netdev vhost-user
vhost-user:fd=N[,queues=N]                  the same on a socket that is open already
stream:PATH[,server|client]                 any other NIC; QEMU: -netdev stream
memif:PATH[,server|client][,id=N][,secret=S][,queues=N][,size=N][,once]
                                            shared memory: DPDK, VPP, pkt-gen; with "once"
                                            the port goes when its first peer does
tap:NAME                                    a tap of the kernel, made if there is none
packet:NAME                                 any link of the kernel, such as a NIC; it stays
xdp:NAME                                    the same by AF_XDP: the kernel sees none of its frames
host:NAME                                   this host, by a netdev of that name, which is made:
                                            a tap, or where that may not be a veth pair`

// openers makes ports of each kind, from what is behind the colon.
var openers = map[string]func(arg string, o options, opt vhostuser.Options) (vale.Port, error){
	"vhost-user": openVhostUser,
	"stream": func(arg string, o options, _ vhostuser.Options) (vale.Port, error) {
		return stream.New(arg, stream.Options{Client: o.client})
	},
	"memif":  openMemif,
	"tap":    func(arg string, _ options, _ vhostuser.Options) (vale.Port, error) { return tap.New(arg) },
	"packet": func(arg string, _ options, _ vhostuser.Options) (vale.Port, error) { return packet.New(arg) },
	"xdp":    func(arg string, _ options, _ vhostuser.Options) (vale.Port, error) { return XDP(arg) },
	"host": func(arg string, _ options, _ vhostuser.Options) (vale.Port, error) {
		p, _, err := Host(arg)
		return p, err
	},
}

// Open makes the port that a text describes; see Kinds. A text without a kind is a tap's name.
func Open(text string, opt vhostuser.Options) (vale.Port, error) {
	kind, rest, ok := strings.Cut(text, ":")
	if !ok {
		kind, rest = "tap", text
	}
	words := strings.Split(rest, ",")
	p, err := open(kind, words[0], words[1:], opt)
	if err != nil {
		return nil, fmt.Errorf("port %q: %w", text, err)
	}
	return p, nil
}

func open(kind, arg string, words []string, opt vhostuser.Options) (vale.Port, error) {
	opener := openers[kind]
	if opener == nil {
		return nil, fmt.Errorf("unknown kind %q, not vhost-user, stream, memif, tap, packet, xdp or host", kind)
	}
	if arg == "" {
		return nil, fmt.Errorf("nothing behind kind %s", kind)
	}
	o, err := understand(kind, words)
	if err != nil {
		return nil, err
	}
	return opener(arg, o, opt)
}

func openVhostUser(arg string, o options, server vhostuser.Options) (vale.Port, error) {
	opt := VhostUserOptions{Pairs: o.queues, Client: o.client, Server: server}
	number, ok := strings.CutPrefix(arg, "fd=")
	if !ok {
		return VhostUser(arg, opt)
	}
	fd, err := strconv.ParseUint(number, 10, 31)
	if err != nil {
		return nil, fmt.Errorf("bad descriptor %q", number)
	}
	return VhostUserFD(int(fd), opt)
}

func openMemif(arg string, o options, opt vhostuser.Options) (vale.Port, error) {
	c := memif.Config{Path: arg, ID: o.id, Name: "vale", Secret: o.secret, Queues: o.queues, Size: o.size, Logf: opt.Logf}
	if o.client {
		c.Role = memif.Client
	}
	return Memif(c, o.once)
}

// options are what may stand behind an argument.
type options struct {
	client, once bool
	queues, size int // 0: not told
	id           uint32
	secret       string
}

// known are the options of each kind.
var known = map[string][]string{
	"vhost-user": {"server", "client", "queues"},
	"stream":     {"server", "client"},
	"memif":      {"server", "client", "id", "secret", "queues", "size", "once"},
}

// understand reads the options of a kind.
func understand(kind string, words []string) (o options, err error) {
	for _, w := range words {
		name, value, given := strings.Cut(w, "=")
		if !slices.Contains(known[kind], name) {
			return o, fmt.Errorf("unknown option %q", w)
		}
		if err := o.set(name, value, given); err != nil {
			return o, fmt.Errorf("option %q: %w", w, err)
		}
	}
	return o, nil
}

func (o *options) set(name, value string, given bool) (err error) {
	switch name {
	case "client":
		o.client = true
	case "once":
		o.once = true
	case "secret":
		o.secret = value
	case "queues":
		o.queues, err = positive(value)
	case "size":
		o.size, err = positive(value)
	case "id":
		var id uint64
		id, err = strconv.ParseUint(value, 10, 32)
		o.id = uint32(id)
	}
	if given && slices.Contains([]string{"server", "client", "once"}, name) {
		return errors.New("takes no value")
	}
	return err
}

func positive(value string) (int, error) {
	n, err := strconv.Atoi(value)
	if err == nil && n < 1 {
		err = errors.New("not a positive number")
	}
	return n, err
}
