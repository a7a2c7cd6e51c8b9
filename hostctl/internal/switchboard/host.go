package switchboard

import (
	"errors"
	"fmt"
	"os"

	"picolab/hostctl/internal/netdev"
	"picolab/hostctl/vale"
	"picolab/hostctl/vale/packet"
	"picolab/hostctl/vale/tap"
)

// Host makes a netdev of that name, by which the kernel of this network namespace is on a switch, and returns its port, with
// which it goes. The netdev is a tap, or where there is no leave for one an end of a veth pair: that takes no device file, and
// so is any user's in a namespace of their own. how says which, and why.
func Host(name string) (p vale.Port, how string, err error) {
	p, err = tap.New(name)
	if err == nil {
		return p, "a tap", nil
	}
	if !errors.Is(err, os.ErrNotExist) && !errors.Is(err, os.ErrPermission) {
		return nil, "", err
	}
	how = fmt.Sprintf("a veth pair (%v)", err)
	p, err = pair(name)
	return p, how, err
}

func pair(name string) (vale.Port, error) {
	peer := name + "p"
	if err := netdev.CreateVeth(name, peer); err != nil {
		return nil, err
	}
	// The switch's end takes all that the other end's MTU lets through, now and when that is raised.
	err := errors.Join(netdev.SetMTU(peer, netdev.MaxVethMTU), netdev.Up(peer))
	if err == nil {
		var p vale.Port
		if p, err = packet.New(peer); err == nil {
			return veth{p, name}, nil
		}
	}
	return nil, errors.Join(err, netdev.Delete(name))
}

// veth is the port at one end of a pair, which goes with it.
type veth struct {
	vale.Port
	name string
}

func (v veth) Close() error { return errors.Join(v.Port.Close(), netdev.Delete(v.name)) }
