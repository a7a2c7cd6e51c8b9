package module

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// testSet is a folder of modules that cannot be loaded.
func testSet(t *testing.T) *Set {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, "lib/modules/6.0")
	for name, text := range map[string]string{
		"modules.dep":     "kernel/net/a-b.ko: kernel/c.ko kernel/d.ko\nkernel/c.ko: kernel/d.ko\nkernel/d.ko:\nkernel/x.ko: kernel/y.ko\nkernel/y.ko: kernel/x.ko\nnonsense\n",
		"modules.alias":   "# comment\nalias pci:v00008086d0000100Esv*sd*bc*sc*i* a_b\nalias virtio:d00000001v* c\nalias net-pf-40 d\nbad line here x\n",
		"modules.builtin": "kernel/drivers/virtio/virtio-pci.ko\n",
	} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(root, "6.0")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLoadOrder(t *testing.T) {
	s := testSet(t)
	for name, want := range map[string]string{
		"a-b": "d c a_b", "a_b": "d c a_b", "c": "d c", "d": "d", "x": "y x", "virtio_pci": "",
		"pci:v00008086d0000100Esv00001AF4sd00001100bc02sc00i00": "d c a_b", "virtio:d00000001v00001AF4": "d c", "net-pf-40": "d",
	} {
		got, err := s.order(name)
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: %v %v, want %s", name, got, err, want)
		}
	}
	if _, err := s.order("nope"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("unknown module: %v", err)
	}
}

func TestLoad(t *testing.T) {
	s := testSet(t)
	if err := s.Load("virtio-pci"); err != nil {
		t.Errorf("built in: %v", err)
	}
	if err := s.Load("a-b"); err == nil {
		t.Error("a missing file loads")
	}
	if err := s.Load("nope"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("unknown: %v", err)
	}
	if loaded, err := s.LoadAlias("pci:nothing"); err != nil || len(loaded) > 0 {
		t.Errorf("no module for a device: %v, %v", loaded, err)
	}
}

func TestConfigure(t *testing.T) {
	s := testSet(t)
	s.Configure("quiet console=ttyS0 a-b.delay_use=5 c.verbose a_b.name=x.y=z .odd= d.=\n")
	for name, want := range map[string]string{"a_b": "delay_use=5 name=x.y=z", "c": "verbose", "quiet": "", "x": ""} {
		if got := strings.Join(s.params[name], " "); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestOpenWithoutFolder(t *testing.T) {
	s, err := Open(t.TempDir(), "6.0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Load("x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

func TestMatch(t *testing.T) {
	for _, tt := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true}, {"", "a", false}, {"*", "", true}, {"a*", "abc", true}, {"*c", "abc", true}, {"a*c", "abd", false},
		{"a?c", "abc", true}, {"a?c", "ac", false}, {"[a-c]x", "bx", true}, {"[!a-c]x", "bx", false}, {"[!a-c]x", "dx", true},
		{"[]]", "]", true}, {"[a", "[a", true}, {`\*`, "*", true}, {`\*`, "a", false}, {"a**b", "axxb", true},
		{"pci:v*d*sv*", "pci:v0001d0002sv3", true}, {"*a*a*a*b", strings.Repeat("a", 2000), false}, {"[-a]", "-", true}, {"[a-]", "-", true},
		{`[\]]x`, `\]x`, true}, {"a\\", "a\\", true},
	} {
		if got := Match(tt.pattern, tt.s); got != tt.want {
			t.Errorf("Match(%q, %q) = %v", tt.pattern, tt.s, got)
		}
	}
}

// FuzzMatch compares the matcher with a recursive one.
func FuzzMatch(f *testing.F) {
	f.Add("pci:v*d*sv*[0-9]?", "pci:v1d2sv34")
	f.Add("a*[!b]*c", "axxc")
	f.Add(`\[*`, "[x")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if len(pattern) > 24 || len(s) > 24 || strings.Count(pattern, "*") > 6 {
			return
		}
		if got, want := Match(pattern, s), naiveMatch(pattern, s); got != want {
			t.Errorf("Match(%q, %q) = %v", pattern, s, got)
		}
	})
}

func naiveMatch(pattern, s string) bool {
	switch {
	case pattern == "":
		return s == ""
	case pattern[0] == '*':
		return naiveMatch(pattern[1:], s) || s != "" && naiveMatch(pattern, s[1:])
	case s == "":
		return false
	}
	n, ok := matchByte(pattern, s[0])
	return ok && naiveMatch(pattern[n:], s[1:])
}

// FuzzIndex reads arbitrary index files.
func FuzzIndex(f *testing.F) {
	f.Add("kernel/a.ko: kernel/b.ko\n", "alias x* a\n", "x1")
	f.Fuzz(func(t *testing.T, dep, alias, name string) {
		s := &Set{files: map[string]string{}, deps: map[string][]string{}, builtin: map[string]bool{}}
		_ = eachLine(strings.NewReader(dep), s.addDep)
		_ = eachLine(strings.NewReader(alias), s.addAlias)
		order, err := s.order(name)
		if err == nil && len(slices.Compact(slices.Sorted(slices.Values(order)))) != len(order) {
			t.Errorf("%q twice", order)
		}
	})
}
