package boot

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// endings are the signals to PID 1 that end an appliance, as busybox's init has them; the kernel sends SIGINT for
// Ctrl-Alt-Del.
var endings = map[os.Signal]int{
	unix.SIGINT: unix.LINUX_REBOOT_CMD_RESTART, unix.SIGTERM: unix.LINUX_REBOOT_CMD_RESTART,
	unix.SIGUSR1: unix.LINUX_REBOOT_CMD_HALT, unix.SIGUSR2: unix.LINUX_REBOOT_CMD_POWER_OFF,
}

// signals ends the machine when it is told to.
func (g *guest) signals(ctx context.Context) {
	check("ctrl-alt-del", unix.Reboot(unix.LINUX_REBOOT_CMD_CAD_OFF))
	c := make(chan os.Signal, 1)
	for s := range endings {
		signal.Notify(c, s)
	}
	defer signal.Stop(c)
	select {
	case s := <-c:
		logf("%v: the machine ends", s)
		endProcesses()
		unix.Sync()
		check("power", unix.Reboot(endings[s]))
	case <-ctx.Done():
	}
}

// endProcesses asks every process to end and then makes it.
func endProcesses() {
	for _, s := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		_ = unix.Kill(-1, s) // kill(2): everybody but PID 1
		for range 20 {
			if !anybody("/proc") {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
}

// anybody says whether there is a process beside PID 1; threads of the kernel have no command line.
func anybody(proc string) bool {
	files, _ := filepath.Glob(filepath.Join(proc, "[0-9]*/cmdline")) // the pattern is well-formed
	for _, f := range files {
		if data, _ := os.ReadFile(f); len(data) > 0 && filepath.Base(filepath.Dir(f)) != "1" {
			return true
		}
	}
	return false
}
