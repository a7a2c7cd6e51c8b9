package sandbox

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"picolab/hostctl/internal/netdev"
	"picolab/hostctl/internal/proc"
)

func init() { Register("busy", func(ctx context.Context, _ []byte) int { return busy(ctx) }) }

// busy makes what a lab makes: a bridge, taps, a veth pair, daemons that left their session, a mount, a socket.
func busy(ctx context.Context) int {
	if err := makeThings(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	<-ctx.Done()
	return 0
}

func makeThings(ctx context.Context) error {
	if err := netdev.CreateBridge(netdev.Bridge{Name: "plkbr"}); err != nil {
		return err
	}
	for i := range 4 {
		// Without the right to taps the rest is still worth killing.
		_ = netdev.CreateTap(netdev.Tap{Name: fmt.Sprintf("plktap%d", i), Owner: -1, Master: "plkbr"})
	}
	if err := netdev.CreateVeth("plkv0", "plkv1"); err != nil {
		return err
	}
	for range 4 {
		if _, err := proc.Start(ctx, proc.Cmd{Path: "sh", Args: []string{"-c", "sleep 600 & exec sleep 600"}, Detach: true}); err != nil {
			return err
		}
	}
	if err := unix.Mount("tmpfs", "/tmp", "tmpfs", 0, ""); err != nil {
		return err
	}
	if _, err := net.Listen("unix", "/run/plk.sock"); err != nil {
		return err
	}
	return nil
}

func victim() error {
	s, err := Start(context.Background(), Spec{
		Root: "/", Entry: "busy", Env: []string{markKey + "=" + os.Getenv(markKey)}, Stderr: os.Stderr,
		UserNS: os.Getenv("PICOLAB_TEST_USERNS") != "",
	})
	if err != nil {
		return err
	}
	code, err := s.Wait()
	return fmt.Errorf("ended with %d, %w", code, err)
}

// markKey marks, with a value per round, the environment of everything a victim starts.
const markKey = "PICOLAB_TEST_MARK"

// TestKill kills hostctl's part of a sandbox at random points and looks for anything left after a second.
// PICOLAB_KILLS scales it; 50 by default.
func TestKill(t *testing.T) {
	rounds := 50
	if n, err := strconv.Atoi(os.Getenv("PICOLAB_KILLS")); err == nil {
		rounds = n
	}
	before := state(t)
	var marks []string
	for i := range rounds {
		mark := fmt.Sprintf("%d-%d-%d", os.Getpid(), i, rand.Int64())
		marks = append(marks, mark)
		killOnce(t, mark, i%2 == 1, time.Duration(rand.Int64N(int64(80*time.Millisecond))))
	}
	// One wait for all: what must be gone a second after the last kill must be so for the earlier ones.
	time.Sleep(time.Second)
	if left := marked(t, marks); len(left) > 0 {
		t.Errorf("%d processes left: %v", len(left), left)
	}
	if after := state(t); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

func killOnce(t *testing.T, mark string, userns bool, after time.Duration) {
	t.Helper()
	c := helper(t, "victim", nil)
	c.Env = append(c.Env, markKey+"="+mark)
	if userns {
		c.Env = append(c.Env, "PICOLAB_TEST_USERNS=1")
	}
	var out bytes.Buffer
	c.Stdout = &out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(after)
	if err := c.Process.Kill(); err != nil {
		t.Errorf("ended before it was killed: %s", out.String())
	}
	_ = c.Wait()
	if out.Len() > 0 {
		t.Errorf("victim said: %s", out.String())
	}
}

// TestKillLooksRight: the search finds what it looks for.
func TestKillLooksRight(t *testing.T) {
	mark := fmt.Sprintf("%d-%d", os.Getpid(), rand.Int64())
	c := helper(t, "victim", nil)
	c.Env = append(c.Env, markKey+"="+mark)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Process.Kill(); _ = c.Wait() }()
	for range 200 {
		// The victim, PID 1, PID 2 and 8 daemons.
		if len(marked(t, []string{mark})) == 11 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("found only %v", marked(t, []string{mark}))
}

// marked are the living processes with one of the marks in their environment.
func marked(t *testing.T, marks []string) []string {
	t.Helper()
	var found []string
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		env, _ := os.ReadFile(dir + "/environ") // gone meanwhile, or a zombie
		for _, m := range marks {
			if bytes.Contains(env, []byte(markKey+"="+m+"\x00")) {
				name, _ := os.ReadFile(dir + "/comm")
				found = append(found, dir+" "+strings.TrimSpace(string(name)))
			}
		}
	}
	return found
}

// state is what a leftover would change here: links, mounts and listening sockets of our names.
func state(t *testing.T) string {
	t.Helper()
	links, err := netdev.List()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, l := range links {
		if strings.HasPrefix(l.Name, "plk") {
			lines = append(lines, "link "+l.Name)
		}
	}
	sockets, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		t.Fatal(err)
	}
	lines = append(lines, fmt.Sprintf("sockets %d", strings.Count(string(sockets), "plk.sock")), mounts(t))
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
