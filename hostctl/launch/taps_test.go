package launch

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"picolab/guestagent/load/getopt"

	"picolab/hostctl/internal/leak"
	"picolab/hostctl/internal/netdev"
	"picolab/hostctl/internal/nstest"
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(onTerminal) != "":
		terminalMain()
		os.Exit(0)
	case os.Getenv(asSwitch) != "":
		if err := switchMain(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	before, err := netdev.List()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(leak.Run(m, func() error {
		if after, err := netdev.List(); err != nil || len(after) != len(before) {
			return fmt.Errorf("links before: %v, now: %v, %v", before, after, err)
		}
		return nil
	}))
}

// links are the names in this namespace but lo's.
func links(t *testing.T) []string {
	all, err := netdev.List()
	if err != nil {
		t.Error(err)
	}
	var names []string
	for _, l := range all {
		if l.Kind != "device" && !slices.Contains([]string{"sit", "ipip", "tunl", "gre", "gretap", "erspan", "ip6tnl", "ip6gre", "vti", "vti6"}, l.Kind) {
			names = append(names, l.Name)
		}
	}
	slices.Sort(names)
	return names
}

// inNamespace runs a test with taps in a network namespace of its own.
func inNamespace(t *testing.T, test func()) {
	t.Helper()
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		t.Skip("taps need /dev/net/tun: ", err)
	}
	f.Close()
	nstest.Run(t, test)
}

// TestPrepTaps makes, makes again, mends and takes away; ip(8) says what is there.
func TestPrepTaps(t *testing.T) {
	inNamespace(t, func() {
		prep := func() {
			if err := prepTaps(io.Discard); err != nil {
				t.Error(err)
			}
			if got := links(t); !slices.Equal(got, []string{"br0", "tap01", "tap02"}) {
				t.Errorf("links %q", got)
			}
			for name, words := range map[string][]string{
				"br0": {"inet 10.0.0.200/24", ",UP"}, "tap01": {"master br0", ",UP"}, "tap02": {"master br0", ",UP"},
			} {
				if out := ip(t, "addr", "show", name); !contains(out, words) {
					t.Errorf("%q is not in\n%s", words, out)
				}
			}
		}
		prep()
		before := ip(t, "-o", "link")
		prep()
		if after := ip(t, "-o", "link"); after != before {
			t.Errorf("the second time changed something:\n%s\n%s", before, after)
		}
		for _, err := range []error{netdev.Delete("tap02"), netdev.SetMaster("tap01", ""), netdev.DelAddr("br0", address), netdev.Down("br0")} {
			if err != nil {
				t.Error(err)
			}
		}
		prep() // mended
		for range 2 {
			if err := unprepTaps(io.Discard); err != nil {
				t.Error(err)
			}
			if got := links(t); len(got) != 0 {
				t.Errorf("left: %q", got)
			}
		}
	})
}

func contains(text string, words []string) bool {
	return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, w) })
}

func ip(t *testing.T, args ...string) string {
	out, err := exec.Command("ip", args...).CombinedOutput() // inherits the thread's namespace
	if err != nil {
		t.Errorf("ip %v: %v: %s", args, err, out)
	}
	return string(out)
}

// TestOthersLinks: an interface of the same name that somebody else made is neither used nor removed.
func TestOthersLinks(t *testing.T) {
	for _, name := range []string{"br0", "tap01", "tap02"} {
		inNamespace(t, func() {
			if err := netdev.CreateBridge(netdev.Bridge{Name: name}); err != nil {
				t.Error(err)
			}
			if err := netdev.SetAlias(name, mark+" not"); err != nil {
				t.Error(err)
			}
			for what, do := range map[string]func(io.Writer) error{"prep-taps": prepTaps, "unprep-taps": unprepTaps} {
				var taken *TakenError
				if err := do(io.Discard); !errors.As(err, &taken) || taken.Link != name {
					t.Errorf("%s with a foreign %s: %v", what, name, err)
				}
				if got := links(t); !slices.Equal(got, []string{name}) {
					t.Errorf("%s left %q", what, got)
				}
			}
			l, err := netdev.Get(name)
			if err != nil || l.Up || len(l.Addrs) > 0 {
				t.Errorf("the foreign %s was changed: %+v, %v", name, l, err)
			}
		})
	}
}

func TestTapsCommands(t *testing.T) {
	for _, command := range []func(Stdio, ...string) error{
		func(s Stdio, args ...string) error { return PrepTaps(t.Context(), s, args) },
		func(s Stdio, args ...string) error { return UnprepTaps(t.Context(), s, args) },
	} {
		var out bytes.Buffer
		if err := command(Stdio{Out: &out}, "--help"); err != nil || !strings.Contains(out.String(), "10.0.0.200/24") {
			t.Errorf("help: %v, %q", err, out.String())
		}
		if err := command(Stdio{Out: &out}, "tap03"); !errors.Is(err, getopt.ErrUsage) {
			t.Errorf("an argument: %v", err)
		}
	}
}
