package boot

import (
	"context"
	"os"
	"syscall"
	"time"
)

// shell keeps a shell on the console when picolab.shell=1 asks for it, or an appliance has not found its root.
func (g *guest) shell(ctx context.Context) {
	if g.conf.Cmdline["shell"] != "1" && !g.rescue {
		return
	}
	<-g.plug.done // so that the prompt comes after the boot messages
	for ctx.Err() == nil {
		check("shell", g.shellOnce())
		pause(ctx, time.Second)
	}
}

func (g *guest) shellOnce() error {
	tty, err := os.OpenFile("/dev/console", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer tty.Close()
	fd := tty.Fd()
	p, err := g.children.Start("/bbin/gosh", []string{"gosh"}, &syscall.ProcAttr{
		Dir: "/", Env: os.Environ(), Files: []uintptr{fd, fd, fd},
		Sys: &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0},
	})
	if err != nil {
		return err
	}
	<-p.Done()
	return nil
}
