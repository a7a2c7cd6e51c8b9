package netdev

import (
	"fmt"
	"os"

	"github.com/vishvananda/netlink"
)

// CreateBridge makes a bridge and leaves it down. When anything fails nothing is left.
func CreateBridge(b Bridge) error {
	if err := checkName(b.Name); err != nil {
		return err
	}
	a := netlink.NewLinkAttrs()
	a.Name, a.HardwareAddr = b.Name, b.MAC
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: a, MulticastSnooping: &b.McastSnooping}); err != nil {
		return fmt.Errorf("create bridge %s: %w", b.Name, err)
	}
	if err := configure(b); err != nil {
		_ = Delete(b.Name)
		return fmt.Errorf("create bridge %s: %w", b.Name, err)
	}
	return nil
}

// configure pins the MTU. Only a change after creation does so (br_change_mtu sets BROPT_MTU_SET_BY_USER), and setting
// what a bridge has already is none.
func configure(b Bridge) error {
	if b.MTU == 0 {
		return nil
	}
	if err := SetMTU(b.Name, b.MTU-1); err != nil && b.MTU > MinMTU {
		return err
	}
	return SetMTU(b.Name, b.MTU)
}

// SetBridgeOption writes /sys/class/net/NAME/bridge/OPTION, for what has no netlink call here (ageing_time and its like).
func SetBridgeOption(name, option, value string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if err := os.WriteFile("/sys/class/net/"+name+"/bridge/"+option, []byte(value), 0); err != nil {
		return fmt.Errorf("set bridge option %s: %w", option, err)
	}
	return nil
}
