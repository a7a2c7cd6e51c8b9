package probe

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAskKeepsOrder(t *testing.T) {
	yes := func(context.Context, Options) (bool, string) { return true, "seen" }
	no := func(context.Context, Options) (bool, string) { return false, "not seen" }
	got := ask(t.Context(), Options{}, []asker{{"a", false, "mend a", yes}, {"b", true, "mend b", no}})
	want := []Probe{{Name: "a", OK: true, Evidence: "seen"}, {Name: "b", Optional: true, Evidence: "not seen", Remedy: "mend b"}}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// Probes of the machine at hand: what they answer is its business, but each says why, and those that fail say what to do.
func TestSomeHere(t *testing.T) {
	names := []string{Memory, Shm, Disk, CPUs, Nesting, Hugepages, Netmap, VFIO, VhostNet, VhostVsock}
	got := Some(t.Context(), Options{Disk: t.TempDir()}, names...)
	if len(got) != len(names) {
		t.Fatalf("%d answers to %d questions", len(got), len(names))
	}
	for _, p := range got {
		t.Logf("%-12s %v %s", p.Name, p.OK, p.Evidence)
		if p.Evidence == "" || !p.OK && p.Remedy == "" {
			t.Errorf("%s: no evidence or remedy: %+v", p.Name, p)
		}
		if p.OK && p.Remedy != "" {
			t.Errorf("%s: remedy for nothing: %q", p.Name, p.Remedy)
		}
	}
}

func TestNamesAreUnique(t *testing.T) {
	names := Names()
	sorted := slices.Sorted(slices.Values(names))
	if len(slices.Compact(sorted)) != len(names) || names[0] != Sandbox {
		t.Errorf("names %q", names)
	}
}

// A device node that exists and does not work must not pass: /dev/null stands for one.
func TestOwnVhostNeedsTheDriver(t *testing.T) {
	if ok, evidence := ownVhost("/dev/null"); ok || !strings.Contains(evidence, "VHOST_SET_OWNER") {
		t.Errorf("/dev/null became a vhost device: %q", evidence)
	}
	if ok, evidence := ownVhost("/dev/none"); ok || !strings.Contains(evidence, fs.ErrNotExist.Error()) && !strings.Contains(evidence, "no such file") {
		t.Errorf("got %q", evidence)
	}
}

func TestAnswers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kvm-x.json")
	if _, err := readAnswer(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	want := answer{OK: true, Evidence: "it ran"}
	if err := writeAnswer(path, want); err != nil {
		t.Fatal(err)
	}
	if got, err := readAnswer(path); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("left %v", entries)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readAnswer(path); err == nil {
		t.Error("half an answer was believed")
	}
}

func TestFirstValue(t *testing.T) {
	path := filepath.Join(t.TempDir(), "info")
	if err := os.WriteFile(path, []byte("A: 1\nMemTotal:   12 kB\nMemTotal: 13 kB\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := firstValue(path, "MemTotal"); got != "12 kB" {
		t.Errorf("got %q", got)
	}
	if got := firstValue(path, "Mem"); got != "" {
		t.Errorf("a prefix matched: %q", got)
	}
	if got := firstValue(path+".none", "A"); got != "" {
		t.Errorf("no file gave %q", got)
	}
	if meminfoBytes("MemTotal") == 0 || meminfoBytes("MemTotal")%1024 != 0 {
		t.Errorf("MemTotal is %d bytes", meminfoBytes("MemTotal"))
	}
}

func TestNesting(t *testing.T) {
	for _, tt := range []struct {
		model, flags string
		want         int
	}{
		{"AMD EPYC", "fpu hypervisor sse", 0},
		{"Intel(R) Core(TM)", "fpu sse", 0},
		{"QEMU TCG CPU version 2.5+", "fpu hypervisor", 1},
		{"QEMU Virtual CPU version 2.5+", "fpu hypervisor", 1},
	} {
		if got, evidence := nesting(tt.model, tt.flags, "x"); got != tt.want || evidence == "" {
			t.Errorf("%s: level %d, %q", tt.model, got, evidence)
		}
	}
}
