package boot

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A terminal here is one with somebody logged in all the time.
type terminal struct {
	name string // below /dev
	term string // TERM
	late bool   // it may wait until drivers are loaded: nobody sees it at first
}

// consoleReady is what the console shows above its first prompt.
const consoleReady = "picolab: console ready"

// shellFiles are the shells to choose from, the first that is there.
var shellFiles = []string{"/usr/bin/bash", "/bbin/gosh"}

// consoles keeps a shell on every console of an appliance; with the kernel argument picolab.console=serial on the serial
// line alone, with picolab.console=off on none.
func (g *guest) consoles(ctx context.Context) {
	var work sync.WaitGroup
	defer work.Wait()
	for _, c := range findConsoles("/sys") {
		if wanted(c, g.conf.Cmdline["console"]) {
			work.Go(func() { g.keepShell(ctx, c) })
		}
	}
}

// wanted says whether a kernel argument leaves a terminal on.
func wanted(c terminal, argument string) bool {
	return argument != "off" && (argument != "serial" || c.name == "ttyS0")
}

// findConsoles lists the serial line, if there is one, and four virtual terminals, if there is a screen.
func findConsoles(sys string) []terminal {
	var all []terminal
	if kind := readText(sys, "class/tty/ttyS0/type"); kind != "" && kind != "0" { // 0 is a port without a chip
		all = append(all, terminal{name: "ttyS0", term: "vt220"})
	}
	if !hasScreen(sys) {
		return all
	}
	for n := 1; n <= 4; n++ {
		all = append(all, terminal{name: fmt.Sprintf("tty%d", n), term: "linux", late: n > 1})
	}
	return all
}

// hasScreen says whether virtual terminals are shown anywhere: the kernel has them on a dummy otherwise.
func hasScreen(sys string) bool {
	drivers, _ := filepath.Glob(filepath.Join(sys, "class/vtconsole/vtcon*")) // the pattern is well-formed
	for _, d := range drivers {
		if readText(d, "bind") == "1" && !strings.Contains(readText(d, "name"), "dummy") {
			return true
		}
	}
	return false
}

func readText(dir, name string) string {
	data, _ := os.ReadFile(filepath.Join(dir, name)) // absent: no such device
	return strings.TrimSpace(string(data))
}

// keepShell starts a shell again when it ends. One that ends at once again and again is started more seldom.
func (g *guest) keepShell(ctx context.Context, c terminal) {
	if c.late {
		select {
		case <-g.plug.done:
		case <-ctx.Done():
		}
	}
	for again := time.Second; ctx.Err() == nil; {
		began := time.Now()
		check(c.name, g.login(c))
		if time.Since(began) > 10*time.Second {
			again = time.Second
		}
		pause(ctx, again)
		again = min(2*again, time.Minute)
	}
}

// login shows the message of the day, as login(1) does, and runs one login shell.
func (g *guest) login(c terminal) error {
	tty, err := os.OpenFile("/dev/"+c.name, os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	defer tty.Close()
	shell := shellFiles[0]
	for _, s := range shellFiles {
		if _, err := os.Stat(s); err == nil {
			shell = s
			break
		}
	}
	fmt.Fprintf(tty, "\r\n%s on %s\r\n", consoleReady, c.name)
	greeting, _ := os.ReadFile("/etc/motd") // absent: the image has none
	tty.Write(greeting)
	fd := tty.Fd()
	p, err := g.children.Start(shell, []string{"-" + filepath.Base(shell)}, &syscall.ProcAttr{
		Dir: "/root", Env: append(os.Environ(), "TERM="+c.term, "USER=root", "LOGNAME=root", "SHELL="+shell), Files: []uintptr{fd, fd, fd},
		Sys: &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0},
	})
	if err != nil {
		return err
	}
	<-p.Done()
	return nil
}
