package probe

import (
	"context"
	"runtime"

	"golang.org/x/sys/unix"

	"picolab/hostctl/internal/qemu"
	"picolab/hostctl/internal/switchboard"
)

// switchNetdevs are QEMU's ways to our switch: rings for virtio, a socket for other models.
var switchNetdevs = []string{"vhost-user", "stream"}

// askVale makes the host's side of a switch, in a namespace that goes with the question.
func askVale(ctx context.Context, _ Options) (bool, string) {
	c, err := qemu.Probe(ctx)
	if err != nil {
		return false, err.Error()
	}
	for _, n := range switchNetdevs {
		if !c.HasNetdev(n) {
			return false, c.VersionText + " lacks netdev " + n
		}
	}
	how, err := hostEnd()
	if err != nil {
		return false, "the host's side: " + err.Error()
	}
	return true, "our switch by vhost-user and stream sockets; the host's side is " + how
}

func hostEnd() (how string, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Never unlocked: the thread, and with it the namespace, ends with this goroutine.
		runtime.LockOSThread()
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return
		}
		p, h, e := switchboard.Host("probe0")
		if how, err = h, e; err == nil {
			err = p.Close()
		}
	}()
	<-done
	return how, err
}
