package boot

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"
)

// ueventGroup is the multicast group on which the kernel itself, not a device manager, announces devices.
const ueventGroup = 1

// uevents calls handle for each kernel device event until ctx ends (netlink(7), NETLINK_KOBJECT_UEVENT).
func uevents(ctx context.Context, handle func(msg []byte)) error {
	f, err := netlinkSocket(unix.NETLINK_KOBJECT_UEVENT, ueventGroup)
	if err != nil {
		return fmt.Errorf("uevents: %w", err)
	}
	defer f.Close()
	if c, err := f.SyscallConn(); err == nil { // fewer lost events; any size will do
		_ = c.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20) })
	}
	return messages(ctx, f, handle)
}
