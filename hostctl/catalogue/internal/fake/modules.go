package fake

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"picolab/guestagent/client"
	"picolab/guestagent/wire"
)

// bondLink is what the module bonding makes.
const bondLink = "bond0"

// Modprobe implements catalogue.Agent: parameters, bonding, and drivers that were unloaded.
func (n *node) Modprobe(_ context.Context, name string, params ...string) error {
	n.lab.mu.Lock()
	defer n.lab.mu.Unlock()
	if !n.lab.Faults.KeepParam {
		n.lab.params[name] = strings.Join(params, " ")
	}
	if _, err := n.find(bondLink); name == "bonding" && err != nil {
		n.links = append(n.links, &wire.Link{Name: bondLink, Mtu: 1500, Kind: "bond", Operstate: "down"})
	}
	back := n.unloaded[name]
	delete(n.unloaded, name)
	if !n.lab.Faults.NoReturn {
		n.links = append(n.links, back...)
	}
	return nil
}

// Rmmod implements catalogue.Agent: the driver's links go, and those that come back have no addresses.
func (n *node) Rmmod(_ context.Context, name string) error {
	n.lab.mu.Lock()
	defer n.lab.mu.Unlock()
	select {
	case <-n.unloads:
	default:
		close(n.unloads)
	}
	if n.lab.Faults.KeepDriver {
		return wire.Errorf(wire.Code_GUEST, "unload module %s: resource temporarily unavailable", name)
	}
	if !n.lab.Faults.KeepParam {
		delete(n.lab.params, name)
	}
	goes := func(l *wire.Link) bool { return l.Driver == name || name == "bonding" && l.Name == bondLink }
	for _, l := range n.links {
		if goes(l) && l.Name != bondLink {
			if n.unloaded == nil {
				n.unloaded = map[string][]*wire.Link{}
			}
			l.Up, l.Addresses = false, nil
			n.state(l)
			n.unloaded[name] = append(n.unloaded[name], l)
		}
	}
	n.links = slices.DeleteFunc(n.links, goes)
	return nil
}

// bondStatus is the part of /proc/net/bonding/bond0 that cases look at.
func (n *node) bondStatus() string {
	lines := []string{"MII Status: up"}
	for _, l := range n.links {
		if l.Master == bondLink && l.Up && !n.lab.Faults.Lame {
			lines = append(lines, "Slave Interface: "+l.Name, "MII Status: up")
		}
	}
	return strings.Join(lines, "\n")
}

// Run implements catalogue.Agent for the command fetch, which downloads for real: the fake's host side serves on
// loopback.
func (n *node) Run(ctx context.Context, argv ...string) (client.Output, error) {
	if argv[0] != "fetch" {
		return client.Output{}, notFound("command " + argv[0])
	}
	bytes, sum, err := n.download(ctx, argv[len(argv)-1])
	if err != nil {
		return client.Output{Stderr: []byte(err.Error()), ExitCode: 1}, nil
	}
	if n.lab.Faults.Corrupt {
		sum[0]++
	}
	out, err := json.Marshal(map[string]any{"bytes": bytes, "sha256": fmt.Sprintf("%x", sum)})
	return client.Output{Stdout: out}, err
}

// download waits in the middle until a driver is to be unloaded.
func (n *node) download(ctx context.Context, url string) (bytes int64, sum [32]byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, sum, err
	}
	t := new(http.Transport)
	defer t.CloseIdleConnections()
	resp, err := t.RoundTrip(req)
	if err != nil {
		return 0, sum, err
	}
	defer resp.Body.Close()
	h := sha256.New()
	first, _ := io.CopyN(h, resp.Body, 1)
	select {
	case <-n.unloads:
	case <-ctx.Done():
	}
	rest, err := io.Copy(h, resp.Body)
	return first + rest, [32]byte(h.Sum(nil)), err
}
