package l2_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"picolab/guestagent/load/getopt"

	"picolab/guestagent/internal/netns"
	"picolab/guestagent/load/l2"
	"picolab/guestagent/load/pktgen"
)

func TestMain(m *testing.M) { os.Exit(netns.Run(m)) }

// commands builds the three, as they pass a descriptor from process to process.
func commands(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	out, err := exec.Command("go", "build", "-o", dir, "picolab/cmd/l2open", "picolab/cmd/l2send", "picolab/cmd/l2recv").CombinedOutput()
	if err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return dir
}

// command is l2open with another command.
func command(t *testing.T, dir, line string) *exec.Cmd {
	t.Helper()
	args := strings.Fields(line)
	args[2] = filepath.Join(dir, args[2])
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	return exec.CommandContext(ctx, filepath.Join(dir, "l2open"), args...)
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Skipf("ip %s (iproute2, CAP_NET_ADMIN): %v\n%s", strings.Join(args, " "), err, out)
	}
}

// TestRaw sends from one end of a cable and receives at the other; TestTap receives what the host sends to a tap device.
// The receivers end by themselves, 2 s after the last frame.
func TestRaw(t *testing.T) {
	dir := commands(t)
	ip(t, "link", "add", "la", "type", "veth", "peer", "name", "lb")
	for _, name := range []string{"la", "lb"} {
		_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/disable_ipv6", []byte("1"), 0)
		ip(t, "link", "set", name, "arp", "off", "up")
	}
	transfer(t, command(t, dir, "-r lb l2recv"), command(t, dir, "-r la l2send -n 3000 -R 30000 -l 200"))
	t.Run("tap", func(t *testing.T) {
		if _, err := os.Stat("/dev/net/tun"); err != nil {
			t.Skip(err)
		}
		ip(t, "tuntap", "add", "lt", "mode", "tap")
		_ = os.WriteFile("/proc/sys/net/ipv6/conf/lt/disable_ipv6", []byte("1"), 0)
		ip(t, "link", "set", "lt", "arp", "off", "up")
		transfer(t, command(t, dir, "-t lt l2recv"), command(t, dir, "-r lt l2send -n 3000 -R 30000 -l 200"))
	})
}

// transfer runs a receiver and a sender of 3000 frames of 200 bytes.
func transfer(t *testing.T, receiver, sender *exec.Cmd) {
	t.Helper()
	var got bytes.Buffer
	ready := &watcher{ready: make(chan struct{})}
	receiver.Stdout, receiver.Stderr = &got, ready
	if err := receiver.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ready.ready:
	case <-time.After(30 * time.Second):
		t.Fatal("l2recv does not start")
	}
	out, err := sender.Output()
	if err != nil || !strings.Contains(string(out), "Sent 3000 packets 600000 bytes") {
		t.Errorf("sender: %v\n%s", err, out)
	}
	if err := receiver.Wait(); err != nil || !strings.Contains(got.String(), "Received 3000 packets 600000 bytes") {
		t.Errorf("receiver: %v\n%s%s", err, got.String(), ready.text.String())
	}
}

// watcher tells when the receiver is ready.
type watcher struct {
	text  bytes.Buffer
	ready chan struct{}
	told  bool
}

func (w *watcher) Write(b []byte) (int, error) {
	w.text.Write(b)
	if !w.told && strings.Contains(w.text.String(), "Ready...") {
		w.told = true
		close(w.ready)
	}
	return len(b), nil
}

func TestOpenErrors(t *testing.T) {
	for line, usage := range map[string]bool{
		"": true, "-r lo": true, "-r lo -t tap0 true": true, "true": true, "-x lo true": true,
		"-r nosuch0 true": false, "-r lo no-such-command": false, "-t this-name-is-too-long true": false,
	} {
		if err := l2.OpenMain(t.Context(), &bytes.Buffer{}, strings.Fields(line)); err == nil || errors.Is(err, getopt.ErrUsage) != usage {
			t.Errorf("%q: %v", line, err)
		}
	}
	var out bytes.Buffer
	if err := l2.OpenMain(t.Context(), &out, []string{"--help"}); err != nil || out.String() != l2.OpenManual {
		t.Errorf("help: %v", err)
	}
}

func TestOptionsOfTheOthers(t *testing.T) {
	std := pktgen.Stdio{Out: &bytes.Buffer{}, Err: &bytes.Buffer{}}
	for _, line := range []string{"-W", "-n", "-n x", "-i eth0", "extra"} {
		if err := l2.RecvMain(t.Context(), std, strings.Fields(line)); !errors.Is(err, getopt.ErrUsage) {
			t.Errorf("l2recv %q: %v", line, err)
		}
		if err := l2.SendMain(t.Context(), std, strings.Fields(line)); !errors.Is(err, getopt.ErrUsage) {
			t.Errorf("l2send %q: %v", line, err)
		}
	}
	for manual, main := range map[string]func(context.Context, pktgen.Stdio, []string) error{l2.SendManual: l2.SendMain, l2.RecvManual: l2.RecvMain} {
		var out bytes.Buffer
		if err := main(t.Context(), pktgen.Stdio{Out: &out}, []string{"-h"}); err != nil || out.String() != manual {
			t.Errorf("help: %v", err)
		}
	}
}
