package verbs_test

import (
	"context"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"picolab/guestagent/client"
	"picolab/guestagent/hostside"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// socketPair is a connection between two endpoints of this machine; the second half as a file for a child.
func socketPair(t *testing.T) (net.Conn, *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fds[0]), "pair")
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	return conn, os.NewFile(uintptr(fds[1]), "pair")
}

// hello makes a client and introduces it.
func hello(t *testing.T, conn net.Conn) *client.Client {
	t.Helper()
	c := client.New(conn)
	t.Cleanup(func() { c.Close() })
	if _, err := c.Hello(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	return c
}

// local is an agent in this process and network namespace.
func local(t *testing.T) *client.Client {
	t.Helper()
	conn, f := socketPair(t)
	agent, err := net.FileConn(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- hostside.Serve(context.Background(), agent, "/", nil) }()
	t.Cleanup(func() {
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return hello(t, conn)
}

// remote is an agent in a process and network namespace of its own.
func remote(t *testing.T) (c *client.Client, pid int) {
	t.Helper()
	conn, f := socketPair(t)
	defer f.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), roleEnv+"="+roleAgent)
	cmd.ExtraFiles = []*os.File{f}
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Wait(); err != nil {
			t.Error("agent:", err)
		}
	})
	return hello(t, conn), cmd.Process.Pid
}

// pair is two endpoints joined by a veth link.
type pair struct {
	a, b         *client.Client
	aIP, bIP     netip.Addr
	aLink, bLink string
}

var (
	prefixA = netip.MustParsePrefix("10.9.0.1/24")
	prefixB = netip.MustParsePrefix("10.9.0.2/24")
)

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{aIP: prefixA.Addr(), bIP: prefixB.Addr(), aLink: "va", bLink: "vb"}
	p.a = local(t)
	var pid int
	p.b, pid = remote(t)
	ctx := t.Context()
	must(t, p.a.AddVeth(ctx, "va", "vb"))
	t.Cleanup(func() { // the agent's context is gone by now
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		must(t, p.a.DelLink(ctx, "va"))
	})
	vb, err := netlink.LinkByName("vb")
	must(t, err)
	must(t, netlink.LinkSetNsPid(vb, pid))
	must(t, p.a.AddAddr(ctx, "va", prefixA))
	must(t, p.b.AddAddr(ctx, "vb", prefixB))
	must(t, p.a.LinkUp(ctx, "va"))
	must(t, p.b.LinkUp(ctx, "vb"))
	must(t, p.b.LinkUp(ctx, "lo"))
	return p
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
