package boot

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The kernel tells of buttons by generic netlink (Linux, drivers/acpi/event.c): the family, its multicast group, and in its
// messages one attribute, struct acpi_genl_event { char device_class[20]; char bus_id[15]; u32 type, data; }.
const (
	acpiFamily    = "acpi_event"
	acpiGroup     = "acpi_mc_group"
	acpiEventAttr = 1
	acpiClassSize = 20
)

// powerButtonClass is the device class of both kinds of power buttons (drivers/acpi/button.c).
const powerButtonClass = "button/power"

// familyTime is how long the kernel may take to look up a family; it does so before sendto(2) returns.
const familyTime = time.Second

// powerButton powers an appliance off, in order, when somebody presses the machine's power button.
func (g *guest) powerButton(ctx context.Context) {
	check("power button", acpiEvents(ctx, func(class string) {
		if class == powerButtonClass {
			logf("power button")
			check("power button", unix.Kill(os.Getpid(), unix.SIGUSR2)) // see endings
		}
	}))
}

// acpiEvents calls handle with the device class of each ACPI event until ctx ends. A machine without ACPI has none.
func acpiEvents(ctx context.Context, handle func(class string)) error {
	f, err := netlinkSocket(unix.NETLINK_GENERIC, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	group, err := genericGroup(f, acpiFamily, acpiGroup)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := join(f, group); err != nil {
		return err
	}
	return messages(ctx, f, func(msg []byte) {
		if class := acpiClass(msg); class != "" {
			handle(class)
		}
	})
}

// acpiClass is the device class that a message is about, "" when it is about none.
func acpiClass(msg []byte) string {
	const head = unix.NLMSG_HDRLEN + unix.GENL_HDRLEN
	if len(msg) < head {
		return ""
	}
	event := attribute(msg[head:], acpiEventAttr)
	if len(event) < acpiClassSize {
		return ""
	}
	class, _, _ := bytes.Cut(event[:acpiClassSize], []byte{0})
	return string(class)
}

// join makes a socket a member of a multicast group.
func join(f *os.File, group uint32) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var joined error
	err = c.Control(func(fd uintptr) {
		joined = unix.SetsockoptInt(int(fd), unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, int(group))
	})
	if err = errors.Join(err, joined); err != nil {
		return fmt.Errorf("join netlink group %d: %w", group, err)
	}
	return nil
}

// genericGroup asks the kernel for the number of a generic netlink family's multicast group (linux/genetlink.h,
// CTRL_CMD_GETFAMILY). ENOENT: there is no such family or group.
func genericGroup(f *os.File, family, group string) (uint32, error) {
	if _, err := f.Write(familyRequest(family)); err != nil {
		return 0, fmt.Errorf("ask for netlink family %s: %w", family, err)
	}
	buf := make([]byte, 8<<10)
	if err := f.SetReadDeadline(time.Now().Add(familyTime)); err != nil {
		return 0, err
	}
	n, err := f.Read(buf)
	if err == nil {
		err = f.SetReadDeadline(time.Time{})
	}
	if err != nil {
		return 0, fmt.Errorf("ask for netlink family %s: %w", family, err)
	}
	number, err := groupNumber(buf[:n], group)
	if err != nil {
		return 0, fmt.Errorf("netlink family %s, group %s: %w", family, group, err)
	}
	return number, nil
}

// familyRequest is the message that asks for a family by name.
func familyRequest(name string) []byte {
	value := append([]byte(name), 0)
	b := make([]byte, unix.NLMSG_HDRLEN, 64)
	binary.NativeEndian.PutUint16(b[4:], unix.GENL_ID_CTRL)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST)
	b = append(b, unix.CTRL_CMD_GETFAMILY, 1, 0, 0)
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.NLA_HDRLEN+len(value)))
	b = binary.NativeEndian.AppendUint16(b, unix.CTRL_ATTR_FAMILY_NAME)
	b = append(b, value...)
	b = append(b, make([]byte, -len(b)&3)...)
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	return b
}

// groupNumber finds a group in the reply. An error message has a negative errno behind its header.
func groupNumber(msg []byte, group string) (uint32, error) {
	const head = unix.NLMSG_HDRLEN + unix.GENL_HDRLEN
	if len(msg) < head {
		return 0, fmt.Errorf("a reply of %d bytes", len(msg))
	}
	if binary.NativeEndian.Uint16(msg[4:]) == unix.NLMSG_ERROR {
		return 0, syscall.Errno(-int32(binary.NativeEndian.Uint32(msg[unix.NLMSG_HDRLEN:])))
	}
	for _, g := range attributes(attribute(msg[head:], unix.CTRL_ATTR_MCAST_GROUPS)) {
		name, id := attribute(g, unix.CTRL_ATTR_MCAST_GRP_NAME), attribute(g, unix.CTRL_ATTR_MCAST_GRP_ID)
		if string(bytes.TrimRight(name, "\x00")) == group && len(id) == 4 {
			return binary.NativeEndian.Uint32(id), nil
		}
	}
	return 0, unix.ENOENT
}
