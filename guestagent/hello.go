package guestagent

import (
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"picolab/guestagent/wire"

	"golang.org/x/sys/unix"
)

// hello gathers what an agent says of itself.
func hello(o Options) *wire.HelloReply {
	up := uptime()
	r := &wire.HelloReply{
		Version: Version(), Protocol: wire.Protocol, ImageId: o.ImageID, Kernel: kernelRelease(), BootId: bootID(),
		UptimeMs: up.Milliseconds(), Pid: int32(os.Getpid()),
	}
	r.Hostname, _ = os.Hostname()
	r.InitMs, r.ListenMs = sinceBoot(up, o.Started), sinceBoot(up, o.Listening)
	return r
}

// sinceBoot is a moment in ms since the kernel started, 0 for an unknown one.
func sinceBoot(up time.Duration, t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return (up - time.Since(t)).Milliseconds()
}

// Version is the build's version: the module's, or the revision it was built from.
var Version = sync.OnceValue(func() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return info.Main.Version
})

func uptime() time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

func kernelRelease() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

func bootID() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // absent without /proc: then it is empty
	return strings.TrimSpace(string(b))
}
