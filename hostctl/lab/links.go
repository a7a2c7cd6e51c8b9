package lab

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"

	"picolab/hostctl/internal/netdev"
	"picolab/hostctl/internal/switchboard"
	"picolab/hostctl/vale"
	"picolab/hostctl/vale/stream"
	"picolab/hostctl/vhostuser"
)

func (l *Lab) makeLinks(context.Context) error {
	l.links = networks(l.spec)
	for _, n := range l.links {
		build := l.makeBridge
		if l.spec.switched(n.Name()) {
			build = l.makeSwitch
		}
		if err := build(n); err != nil {
			return infra("make link %s: %w", n.Name(), err)
		}
	}
	return nil
}

// makeBridge makes a bridge with an address of its own, so that it does not change with its ports.
func (l *Lab) makeBridge(n *Network) error {
	mac, err := l.hostMAC(n)
	if err != nil {
		return err
	}
	if err := netdev.CreateBridge(netdev.Bridge{Name: n.bridge, MAC: mac, MTU: n.spec.MTU}); err != nil {
		return err
	}
	l.undo.push("delete bridge", func(context.Context) error { return netdev.Delete(n.bridge) })
	return n.open()
}

func (l *Lab) hostMAC(n *Network) (net.HardwareAddr, error) {
	return net.ParseMAC(MAC(l.spec.Name, "host", n.index))
}

// open gives the host's side of a link its address and takes it up.
func (n *Network) open() error {
	if n.spec.Host.IsValid() {
		if err := netdev.AddAddr(n.bridge, n.spec.Host); err != nil {
			return err
		}
	}
	return netdev.Up(n.bridge)
}

// hostPort is the name of the host's port on every switch.
const hostPort = "host"

// makeSwitch makes a switch of our own, and the host's port on it.
func (l *Lab) makeSwitch(n *Network) error {
	mac, err := l.hostMAC(n)
	if err != nil {
		return err
	}
	if n.sw, err = vale.New(vale.Options{Logf: l.env.Logf}); err != nil {
		return err
	}
	l.undo.push("close switch", func(context.Context) error { return n.sw.Close() })
	port, how, err := switchboard.Host(n.bridge)
	if err != nil {
		return err
	}
	l.logf("link %s: a switch; the host's side is %s", n.Name(), how)
	if err := n.sw.Attach(hostPort, port); err != nil {
		return errors.Join(err, port.Close())
	}
	if err := netdev.SetMAC(n.bridge, mac); err != nil {
		return err
	}
	if err := netdev.SetMTU(n.bridge, n.spec.MTU); err != nil {
		return err
	}
	return n.open()
}

// makePort makes the socket by which QEMU joins a NIC to its link's switch.
func (l *Lab) makePort(guest string, i int, n NIC) (string, error) {
	name := PortName(guest, i)
	path, err := l.attach(name, n)
	if err == nil {
		l.undo.push("detach "+name, func(context.Context) error { return l.Link(n.Link).sw.Detach(name) })
	}
	return path, err
}

// attach makes a socket in the lab's folder and a port of that name on the switch of a NIC's link.
func (l *Lab) attach(name string, n NIC) (string, error) {
	path := filepath.Join(l.sockets, name+".sock")
	var port vale.Port
	var err error
	if n.vhostUser() {
		port, err = switchboard.VhostUser(path, switchboard.VhostUserOptions{Pairs: n.Queues, Server: vhostuser.Options{Logf: l.env.Logf}})
	} else {
		port, err = stream.New(path, stream.Options{})
	}
	if err != nil {
		return "", err
	}
	if err := l.Link(n.Link).sw.Attach(name, port); err != nil {
		return "", errors.Join(err, port.Close())
	}
	return path, nil
}

// keepCounters has what every switch counted stay as evidence, links/NAME.switch.json, as it was before the guests were
// stopped.
func (l *Lab) keepCounters(context.Context) error {
	for _, n := range l.links {
		if n.sw != nil {
			l.undo.push("keep counters of "+n.Name(), func(context.Context) error { return l.writeCounters(n) })
		}
	}
	return nil
}

func (l *Lab) writeCounters(n *Network) error {
	dir, err := l.evidence("links")
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(n.sw.Stats(), "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, n.Name()+".switch.json"), append(data, '\n'), 0o644)
}
