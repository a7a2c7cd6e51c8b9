package switchboard

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

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
tap:NAME                                    a tap of the kernel, made if there is none
packet:NAME                                 any link of the kernel, such as a NIC; it stays`

// Open makes the port that a text describes; see Kinds. A text without a kind is a tap's name.
func Open(text string, opt vhostuser.Options) (vale.Port, error) {
	kind, rest, ok := strings.Cut(text, ":")
	if !ok {
		kind, rest = "tap", text
	}
	arg, options := rest, []string(nil)
	if words := strings.Split(rest, ","); len(words) > 1 {
		arg, options = words[0], words[1:]
	}
	p, err := open(kind, arg, options, opt)
	if err != nil {
		return nil, fmt.Errorf("port %q: %w", text, err)
	}
	return p, nil
}

func open(kind, arg string, options []string, opt vhostuser.Options) (vale.Port, error) {
	if arg == "" {
		return nil, fmt.Errorf("nothing behind kind %s", kind)
	}
	client, pairs, err := understand(kind, options)
	if err != nil {
		return nil, err
	}
	switch kind {
	case "vhost-user":
		return openVhostUser(arg, VhostUserOptions{Pairs: pairs, Client: client, Server: opt})
	case "stream":
		return stream.New(arg, stream.Options{Client: client})
	case "tap":
		return tap.New(arg)
	case "packet":
		return packet.New(arg)
	}
	return nil, fmt.Errorf("unknown kind %q, not vhost-user, stream or tap", kind)
}

func openVhostUser(arg string, opt VhostUserOptions) (vale.Port, error) {
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

// understand reads the options of a kind.
func understand(kind string, options []string) (client bool, pairs int, err error) {
	known := map[string][]string{"vhost-user": {"server", "client", "queues"}, "stream": {"server", "client"}}[kind]
	for _, o := range options {
		name, value, _ := strings.Cut(o, "=")
		if !slices.Contains(known, name) {
			return false, 0, fmt.Errorf("unknown option %q", o)
		}
		switch name {
		case "client":
			client = true
		case "queues":
			if pairs, err = strconv.Atoi(value); err != nil || pairs < 1 {
				return false, 0, fmt.Errorf("bad number of queues %q", value)
			}
		}
	}
	return client, pairs, nil
}
