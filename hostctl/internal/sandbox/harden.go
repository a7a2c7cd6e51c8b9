package sandbox

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// dropped are the capabilities nothing in a lab needs, because what they rule (modules, the clock, booting, device
// nodes) does not belong to a namespace. What networking, QEMU, OVS and vfio need stays.
var dropped = []uintptr{
	unix.CAP_SYS_MODULE, unix.CAP_SYS_BOOT, unix.CAP_SYS_TIME, unix.CAP_WAKE_ALARM, unix.CAP_BLOCK_SUSPEND, unix.CAP_MKNOD,
	unix.CAP_MAC_ADMIN, unix.CAP_MAC_OVERRIDE, unix.CAP_AUDIT_CONTROL, unix.CAP_AUDIT_READ, unix.CAP_AUDIT_WRITE,
	unix.CAP_SYS_PACCT, unix.CAP_SYS_TTY_CONFIG, unix.CAP_LINUX_IMMUTABLE,
}

// harden sets, for the calling thread and what it starts, no_new_privs and the capability bounding set.
func (p *plan) harden() error {
	for _, c := range dropped {
		if p.Modules && c == unix.CAP_SYS_MODULE {
			continue
		}
		// EINVAL: this kernel is older than the capability.
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("drop capability %d: %w", c, err)
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	return nil
}

// mayMount says whether this process has CAP_SYS_ADMIN and so needs no user namespace. uid 0 alone does not tell: a
// container's root often lacks it.
func mayMount() bool {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&hdr, &data[0]) != nil {
		return false
	}
	return data[unix.CAP_SYS_ADMIN/32].Effective&(1<<(unix.CAP_SYS_ADMIN%32)) != 0
}
