package boot

import (
	"context"
	"fmt"
	"os"
	"time"

	"picolab/guestagent/wire"

	"golang.org/x/sys/unix"
)

// replyDelay lets the reply of a power call leave before the machine does.
const replyDelay = 50 * time.Millisecond

// power carries out a power action. Those that end the machine happen shortly after the call has returned.
func power(_ context.Context, action string) error {
	switch action {
	case "off":
		return later(unix.LINUX_REBOOT_CMD_POWER_OFF)
	case "reboot":
		return later(unix.LINUX_REBOOT_CMD_RESTART)
	case "halt":
		return later(unix.LINUX_REBOOT_CMD_HALT)
	case "suspend":
		return sleep("mem")
	case "hibernate":
		return sleep("disk")
	case "crash":
		time.AfterFunc(replyDelay, func() { check("crash", os.WriteFile("/proc/sysrq-trigger", []byte("c"), 0)) })
		return nil
	}
	return wire.Errorf(wire.Code_INVALID, "power: unknown action %q", action)
}

func later(cmd int) error {
	time.AfterFunc(replyDelay, func() {
		unix.Sync()
		check("power", unix.Reboot(cmd))
	})
	return nil
}

// sleep is S3 ("mem") or S4 ("disk"); it returns after the wake-up.
func sleep(state string) error {
	if err := os.WriteFile("/sys/power/state", []byte(state), 0); err != nil {
		return fmt.Errorf("suspend to %s: %w", state, err)
	}
	return nil
}
