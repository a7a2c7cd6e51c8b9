package lab

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"picolab/hostctl/internal/place"
	"picolab/hostctl/internal/sandbox"
)

// insideEntry runs this very test binary's tests inside a sandbox; the payload is its command line.
const insideEntry = "lab-tests"

// figures asks TestFigures to measure.
var figures = flag.Bool("figures", false, "measure; only inside")

// only narrows TestGuests to those of its tests whose names match.
var only = flag.String("only", "^TestInside", "the tests with real guests")

// inside says that this process is in the sandbox, where labs may be made.
var inside bool

func TestMain(m *testing.M) {
	sandbox.Register(insideEntry, func(_ context.Context, payload []byte) int {
		inside = true
		os.Args = append(os.Args[:1], strings.Fields(string(payload))...)
		flag.Parse()
		return checked(m)
	})
	sandbox.Main()
	os.Exit(checked(m))
}

// checked runs the tests and fails when goroutines or descriptors stay behind.
func checked(m *testing.M) int {
	before, known := descriptors(), goleak.IgnoreCurrent() // the sandbox's entry waits for signals
	code := m.Run()
	if code != 0 {
		return code
	}
	if err := goleak.Find(known); err != nil {
		fmt.Println(err)
		return 1
	}
	// The runtime's poller and the test binary's log may add a few; a leak per guest or lab would be more.
	if after := descriptors(); after > before+4 {
		fmt.Printf("descriptors: %d before, %d after\n", before, after)
		return 1
	}
	return 0
}

func descriptors() int {
	entries, _ := os.ReadDir("/proc/self/fd")
	return len(entries)
}

// TestGuests runs every TestInside* with real guests, each in a sandbox of its own.
func TestGuests(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	names, err := exec.Command(self, "-test.list="+*only).Output()
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.FieldsSeq(string(names)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runInside(t, "-test.run=^"+name+"$ -test.v -test.timeout=10m")
		})
	}
}

// TestUnprivilegedGuests runs every TestUserNamespace* with real guests in a user namespace, as for an ordinary user.
func TestUnprivilegedGuests(t *testing.T) {
	t.Parallel()
	runInsideWith(t, "-test.run=^TestUserNamespace -test.v -test.timeout=5m", func(s *sandbox.Spec) { s.UserNS = true })
}

// runInside runs this binary with args in a sandbox on the host image.
func runInside(t testing.TB, args string) string {
	t.Helper()
	return runInsideWith(t, args, func(*sandbox.Spec) {})
}

func runInsideWith(t testing.TB, args string, change func(*sandbox.Spec)) string {
	t.Helper()
	images := os.Getenv("PICOLAB_IMAGES")
	if images == "" {
		t.Skip("PICOLAB_IMAGES not set: run make test")
	}
	images, err := filepath.Abs(images)
	if err != nil {
		t.Fatal(err)
	}
	p := place.Place{Images: images, Cache: t.TempDir()}
	spec, err := p.Sandbox(insideEntry, nil)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	spec.Payload = []byte(args)
	spec.Stdout, spec.Stderr = &out, &out
	change(&spec)
	box, err := sandbox.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	code, err := box.Wait()
	if err != nil || code != 0 {
		t.Fatalf("inside: exit code %d, %v\n%s", code, err, out.String())
	}
	t.Log(out.String())
	return out.String()
}

// onlyInside skips a test that TestGuests runs in the sandbox.
func onlyInside(t *testing.T) {
	t.Helper()
	if !inside {
		t.Skip("runs inside the sandbox, started by TestGuests")
	}
}
