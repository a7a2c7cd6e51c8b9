// Package testpmd runs DPDK's dpdk-testpmd of a host image as the peer of tests and benchmarks: what it makes of our rings is
// worth more than what we make of them.
//
// It runs with the image's own loader and libraries, without huge pages, PCI and privileges, all of its threads on one CPU.
//
// Source: DPDK 24.11, Testpmd Application User Guide and EAL parameters.
package testpmd

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// timeout limits how long a command of testpmd may take.
const timeout = 60 * time.Second

const prompt = "testpmd> "

// Process is a running testpmd.
type Process struct {
	t      testing.TB
	cmd    *exec.Cmd
	in     io.WriteCloser
	log    bytes.Buffer // to be read when it has ended
	out    chan string  // what it printed up to each prompt
	exited chan error
}

// Config says how testpmd runs.
type Config struct {
	CPU     int      // on which it runs
	Drivers []string // names of its drivers, "virtio" for librte_net_virtio.so
	VDevs   []string // its ports, as for --vdev
	Memory  int      // MB, 0 for 256
	EAL     []string // more arguments for the environment
	Args    []string // more arguments for testpmd itself
}

// Program returns the command of a program of the host image, which finds the image's libraries and DPDK's drivers, or skips.
func Program(t testing.TB, path string, args ...string) *exec.Cmd {
	t.Helper()
	lib := filepath.Join(Root(t), "usr/lib/x86_64-linux-gnu")
	loader := []string{"--library-path", lib + ":" + driverFolder(t, lib), filepath.Join(Root(t), path)}
	return exec.Command(filepath.Join(lib, "ld-linux-x86-64.so.2"), append(loader, args...)...)
}

// Driver returns the file of a driver, "net_virtio", or skips. DPDK finds it by that name alone.
func Driver(t testing.TB, name string) string {
	t.Helper()
	found, _ := filepath.Glob(filepath.Join(driverFolder(t, filepath.Join(Root(t), "usr/lib/x86_64-linux-gnu")), "librte_"+name+".so.*"))
	if len(found) == 0 {
		t.Skipf("the host image has no DPDK driver %s", name)
	}
	return filepath.Base(found[0]) // DPDK refuses a path that leads through /tmp
}

// Root returns the root of the host image, or skips.
func Root(t testing.TB) string {
	t.Helper()
	images := os.Getenv("PICOLAB_IMAGES")
	if images == "" {
		t.Skip("PICOLAB_IMAGES not set: run make test")
	}
	dir := filepath.Join(images, "host", "root")
	if _, err := os.Stat(filepath.Join(dir, "usr/bin/dpdk-testpmd")); err != nil {
		t.Skipf("the host image has no dpdk-testpmd (package dpdk-dev): %v", err)
	}
	return dir
}

// Start starts testpmd and waits until it takes commands. It ends with the test, if not before.
func Start(t testing.TB, c Config) *Process {
	t.Helper()
	run, err := os.MkdirTemp("", "pmd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(run) })
	p := &Process{t: t, out: make(chan string), exited: make(chan error, 1)}
	p.cmd = command(t, c)
	p.cmd.Env = append(os.Environ(), "RUNTIME_DIRECTORY="+run)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.start()
	t.Cleanup(p.Stop)
	p.answer()
	return p
}

// command puts the command line together.
func command(t testing.TB, c Config) *exec.Cmd {
	t.Helper()
	args := []string{fmt.Sprintf("--lcores=(0,1)@%d", c.CPU), "--no-pci", "--no-huge", "-m", strconv.Itoa(max(256, c.Memory)), "--no-telemetry"}
	for _, d := range append([]string{"mempool_ring"}, c.Drivers...) {
		if !strings.Contains(d, "_") {
			d = "net_" + d
		}
		args = append(args, "-d", Driver(t, d))
	}
	for _, v := range c.VDevs {
		args = append(args, "--vdev", v)
	}
	args = append(append(args, c.EAL...), "--", "-i", "--total-num-mbufs=20000", "--no-mlockall", "--mask-event=all", "--nb-cores=1", "--burst=32")
	return Program(t, "usr/bin/dpdk-testpmd", append(args, c.Args...)...)
}

// driverFolder is where the image's DPDK has its drivers.
func driverFolder(t testing.TB, lib string) string {
	t.Helper()
	found, _ := filepath.Glob(filepath.Join(lib, "dpdk/pmds-*"))
	if len(found) == 0 {
		t.Skip("the host image has no DPDK drivers (packages librte-*)")
	}
	return found[0]
}

func (p *Process) start() {
	p.t.Helper()
	out, theirs, err := terminal()
	if err != nil {
		p.t.Fatal(err)
	}
	defer theirs.Close()
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		p.t.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = theirs, &p.log // what drivers log must not come into a prompt
	if err := p.cmd.Start(); err != nil {
		_ = out.Close()
		p.t.Fatalf("start testpmd: %v", err)
	}
	go p.read(out)
}

// read cuts the output at the prompts.
func (p *Process) read(out *os.File) {
	defer out.Close()
	var text strings.Builder
	r := bufio.NewReader(out)
	for {
		b, err := r.ReadByte()
		if err != nil { // EIO once testpmd has ended
			break
		}
		text.WriteByte(b)
		if s, ok := strings.CutSuffix(text.String(), prompt); ok {
			p.out <- s
			text.Reset()
		}
	}
	err := p.cmd.Wait()
	p.exited <- fmt.Errorf("testpmd ended: %v\n%s%s", err, text.String(), p.log.String())
	close(p.exited)
}

// answer waits for the prompt, and returns what came before it.
func (p *Process) answer() string {
	p.t.Helper()
	select {
	case s := <-p.out:
		return s
	case err := <-p.exited:
		p.t.Fatal(err)
	case <-time.After(timeout):
		p.kill()
		p.t.Fatalf("testpmd does not answer: %v", p.end())
	}
	return ""
}

// Command has testpmd do something, and returns what it prints.
func (p *Process) Command(format string, args ...any) string {
	p.t.Helper()
	if _, err := fmt.Fprintf(p.in, format+"\n", args...); err != nil {
		p.t.Fatalf("command testpmd: %v", err)
	}
	return p.answer()
}

// Stats are the counters of a port, and its rates in frames a second since the last time.
type Stats struct{ Rx, Tx, Missed, TxErrors, RxRate, TxRate uint64 }

// Stats returns the counters of a port.
func (p *Process) Stats(port int) Stats {
	p.t.Helper()
	text := p.Command("show port stats %d", port)
	field := func(name string) uint64 { return p.field(text, name) }
	return Stats{field("RX-packets:"), field("TX-packets:"), field("RX-missed:"), field("TX-errors:"), field("Rx-pps:"), field("Tx-pps:")}
}

// field returns the number behind a name.
func (p *Process) field(text, name string) uint64 {
	p.t.Helper()
	_, after, ok := strings.Cut(text, name)
	if words := strings.Fields(after); ok && len(words) > 0 {
		if n, err := strconv.ParseUint(words[0], 10, 64); err == nil {
			return n
		}
	}
	p.t.Fatalf("no %s in the statistics of testpmd:\n%s", name, text)
	return 0
}

// windows is how often BestRate looks, and window for how long.
const (
	windows = 12
	window  = 120 * time.Millisecond
)

// BestRate returns how many frames a second the ports receive, at the best of several short times: the one that other
// programs disturbed least.
func (p *Process) BestRate(ports ...int) float64 {
	p.t.Helper()
	var best uint64
	for range windows {
		var sum uint64
		for _, port := range ports {
			p.Stats(port)
		}
		time.Sleep(window)
		for _, port := range ports {
			sum += p.Stats(port).RxRate
		}
		best = max(best, sum)
	}
	return float64(best)
}

// Stop ends testpmd.
func (p *Process) Stop() {
	_, _ = io.WriteString(p.in, "quit\n")
	_ = p.in.Close()
	defer time.AfterFunc(timeout/4, p.kill).Stop()
	_ = p.end()
}

func (p *Process) kill() { _ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) }

// end waits until it has ended, and returns why. Prompts that nobody waits for any more do not keep it from that.
func (p *Process) end() error {
	for {
		select {
		case <-p.out:
		case err := <-p.exited:
			return err
		}
	}
}
