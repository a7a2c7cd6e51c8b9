package boot

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// nla is a netlink attribute, filled up to a multiple of four bytes.
func nla(kind uint16, value []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	b = append(binary.NativeEndian.AppendUint16(b, kind), value...)
	return append(b, make([]byte, -len(b)&3)...)
}

// acpiMessage is what drivers/acpi/event.c sends.
func acpiMessage(class string) []byte {
	event := make([]byte, 44)
	copy(event, class)
	copy(event[20:], "LNXPWRBN:00")
	return append(make([]byte, 20), nla(acpiEventAttr, event)...)
}

func TestACPIClass(t *testing.T) {
	press := acpiMessage(powerButtonClass)
	if got := acpiClass(press); got != powerButtonClass {
		t.Errorf("%q", got)
	}
	if got := acpiClass(acpiMessage("a name of twenty by!")); got != "a name of twenty by!" {
		t.Errorf("without a zero: %q", got)
	}
	for n := range len(press) { // cut anywhere it is no event, and no panic
		if got := acpiClass(press[:n]); got != "" {
			t.Errorf("%d bytes: %q", n, got)
		}
	}
}

func TestAttributes(t *testing.T) {
	list := append(nla(1, []byte("a")), nla(2|0x8000, []byte("bc"))...) // 0x8000 says that there are attributes in it
	if got := attribute(list, 2); string(got) != "bc" {
		t.Errorf("%q", got)
	}
	for _, broken := range [][]byte{nil, {4, 0, 2}, {3, 0, 2, 0}, {0, 0, 2, 0}, {9, 0, 2, 0, 1, 2, 3, 4}} {
		if got := attribute(broken, 2); got != nil {
			t.Errorf("%v has %v", broken, got)
		}
	}
}

// TestFamily asks the running kernel for a family that every kernel has, and for what none has.
func TestFamily(t *testing.T) {
	f, err := netlinkSocket(unix.NETLINK_GENERIC, 0)
	if err != nil {
		t.Skip("no generic netlink: ", err)
	}
	defer f.Close()
	group, err := genericGroup(f, "nlctrl", "notify") // net/netlink/genetlink.c, genl_ctrl
	if err != nil || group == 0 {
		t.Fatalf("%d, %v", group, err)
	}
	if err := join(f, group); err != nil {
		t.Error(err)
	}
	for _, none := range [][2]string{{"picolab_none", "x"}, {"nlctrl", "x"}} {
		if _, err := genericGroup(f, none[0], none[1]); !errors.Is(err, unix.ENOENT) {
			t.Errorf("%v: %v", none, err)
		}
	}
}

func TestGroupNumber(t *testing.T) {
	groups := append(nla(1, append(nla(unix.CTRL_ATTR_MCAST_GRP_NAME, []byte("other\x00")), nla(unix.CTRL_ATTR_MCAST_GRP_ID, []byte{7, 0, 0, 0})...)),
		nla(2, append(nla(unix.CTRL_ATTR_MCAST_GRP_NAME, []byte(acpiGroup+"\x00")), nla(unix.CTRL_ATTR_MCAST_GRP_ID, []byte{9, 0, 0, 0})...))...)
	reply := append(make([]byte, 20), nla(unix.CTRL_ATTR_MCAST_GROUPS, groups)...)
	if got, err := groupNumber(reply, acpiGroup); err != nil || got != 9 {
		t.Errorf("%d, %v", got, err)
	}
	for n := range len(reply) - 1 { // the last attribute may be cut, never misread
		if got, err := groupNumber(reply[:n], acpiGroup); err == nil {
			t.Errorf("%d bytes: group %d", n, got)
		}
	}
}

// TestACPIEventsEnd: listening ends with its context, whether there is ACPI or not.
func TestACPIEventsEnd(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := acpiEvents(ctx, func(string) {}); err != nil {
		t.Error(err)
	}
}
