package launch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"

	"picolab/guestagent/load/getopt"
	"picolab/hostctl/internal/netdev"
)

// What prep-taps makes.
const (
	bridge = "br0"
	// mark is the alias of every interface that prep-taps made; nothing without it is ever changed.
	mark = "picolab prep-taps"
)

var (
	taps    = []string{"tap01", "tap02"}
	address = netip.MustParsePrefix("10.0.0.200/24")
	// bridgeMAC is the bridge's own: without one it changes with its ports, and neighbours lose it.
	bridgeMAC = net.HardwareAddr{0x52, 0x54, 0x00, 0x0a, 0x00, 0xc8}
)

// A TakenError names an interface that is in the way and that prep-taps did not make.
type TakenError struct{ Link string }

func (e *TakenError) Error() string {
	return fmt.Sprintf("interface %s is there and prep-taps did not make it (its alias is not %q): remove or rename it first", e.Link, mark)
}

const prepManual = `usage: prep-taps
       unprep-taps

prep-taps makes the tap interfaces tap01 and tap02 and the bridge br0, joins them
and gives the bridge the address 10.0.0.200/24. launch-qemu --tap 01 and --tap 02
use them. unprep-taps takes them away. Both may be run again and again, and never
touch an interface that prep-taps did not make.
`

// PrepTaps is the prep-taps command.
func PrepTaps(_ context.Context, std Stdio, args []string) error {
	return tapsCommand(std, args, prepTaps)
}

// UnprepTaps is the unprep-taps command.
func UnprepTaps(_ context.Context, std Stdio, args []string) error {
	return tapsCommand(std, args, unprepTaps)
}

func tapsCommand(std Stdio, args []string, do func(io.Writer) error) error {
	switch {
	case len(args) == 0:
		return do(std.Out)
	case slices.Contains([]string{"-h", "--help", "-help"}, args[0]):
		_, err := io.WriteString(std.Out, prepManual)
		return err
	}
	return fmt.Errorf("unexpected argument %q; %w", args[0], getopt.ErrUsage)
}

// prepTaps makes what is not there; interfaces that it made before are brought to the state they should have.
func prepTaps(w io.Writer) error {
	for _, name := range append([]string{bridge}, taps...) { // all are looked at before any is made
		if _, err := ours(name); err != nil {
			return err
		}
	}
	if err := prepBridge(); err != nil {
		return err
	}
	for _, name := range taps {
		if err := prepTap(name); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "%s has %s; its ports are %s and %s\n", bridge, address, taps[0], taps[1])
	return err
}

// ours says whether an interface is there; somebody else's is a *TakenError.
func ours(name string) (there bool, err error) {
	l, err := netdev.Get(name)
	switch {
	case errors.Is(err, netdev.ErrNotFound):
		return false, nil
	case err != nil:
		return false, err
	case l.Alias != mark:
		return false, &TakenError{name}
	}
	return true, nil
}

// create makes an interface and marks it, or leaves none.
func create(name string, doCreate func() error) error {
	there, err := ours(name)
	if there || err != nil {
		return err
	}
	if err := doCreate(); err != nil {
		return err
	}
	if err := netdev.SetAlias(name, mark); err != nil {
		return errors.Join(err, netdev.Delete(name))
	}
	return nil
}

func prepBridge() error {
	err := create(bridge, func() error { return netdev.CreateBridge(netdev.Bridge{Name: bridge, MAC: bridgeMAC}) })
	if err != nil {
		return err
	}
	l, err := netdev.Get(bridge)
	if err == nil && !slices.Contains(l.Addrs, address) {
		err = netdev.AddAddr(bridge, address)
	}
	if err != nil {
		return err
	}
	return netdev.Up(bridge)
}

func prepTap(name string) error {
	if err := create(name, func() error { return netdev.CreateTap(netdev.Tap{Name: name, Owner: -1}) }); err != nil {
		return err
	}
	return errors.Join(netdev.SetMaster(name, bridge), netdev.Up(name))
}

// unprepTaps takes away what prepTaps made and leaves the rest alone.
func unprepTaps(w io.Writer) error {
	var errs []error
	removed := 0
	for _, name := range append(slices.Clone(taps), bridge) {
		there, err := ours(name)
		if there {
			err = netdev.Delete(name)
			removed++
		}
		errs = append(errs, err)
	}
	_, err := fmt.Fprintf(w, "%d interfaces removed\n", removed)
	return errors.Join(append(errs, err)...)
}
