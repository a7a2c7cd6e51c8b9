package site

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestResolver(t *testing.T) {
	for _, tc := range []struct {
		name            string
		network         Network
		servers, search []string // of leases
		want            string   // "" = the file stays as it was
	}{
		{"nobody knows any", Network{}, nil, nil, ""},
		{"domains alone are no use", Network{Search: []string{"lab.example"}}, nil, nil, ""},
		{"a lease", Network{}, []string{"192.0.2.1"}, []string{"a.example"}, "search a.example\nnameserver 192.0.2.1\n"},
		{"the text comes first", Network{DNS: []string{"192.0.2.9"}, Search: []string{"b.example"}}, []string{"192.0.2.1"}, []string{"a.example"},
			"search b.example a.example\nnameserver 192.0.2.9\nnameserver 192.0.2.1\n"},
		{"each once", Network{DNS: []string{"192.0.2.1"}}, []string{"192.0.2.1", "192.0.2.1"}, nil, "nameserver 192.0.2.1\n"},
		{"no more than the C library asks", Network{}, []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"}, nil,
			"nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\n"},
	} {
		b := newBench(t, nil)
		const before = "# the image's own\n"
		b.put(b.root, "etc/resolv.conf", before)
		s := Open(b.o)
		s.network = tc.network
		if err := s.writeResolver(tc.servers, tc.search); err != nil {
			t.Error(err)
		}
		want := tc.want
		if want == "" {
			want = before
		}
		t.Log(tc.name)
		b.want("etc/resolv.conf", want)
	}
}

func TestShellWord(t *testing.T) {
	for s, want := range map[string]string{"a": "'a'", "": "''", "a b$(c)": "'a b$(c)'", "it's": `'it'\''s'`} {
		if got := shellWord(s); got != want {
			t.Errorf("%q: %s", s, got)
		}
	}
}

// TestApplyCannotWrite: a root file system that takes nothing is told of, step by step, and ends nothing.
func TestApplyCannotWrite(t *testing.T) {
	b := newBench(t, map[string]string{"picolab/site/network.yaml": "hostname: x\ndns: [192.0.2.1]\n", "picolab/site/authorized_keys": goodKey, "picolab/site/files/a": "1"})
	b.o.Root = filepath.Join(b.root, "file")
	b.put(b.root, "file", "a file where the root should be")
	Open(b.o).Apply()
	for _, step := range []string{"files", "authorized_keys", "network.yaml", "image id"} {
		if !strings.Contains(b.logged(), "site folder: "+step+": ") {
			t.Errorf("not told of %s:\n%s", step, b.logged())
		}
	}
}

// TestCopyReplaces: a file that is in use, or a link, is replaced, not written through.
func TestCopyReplaces(t *testing.T) {
	b := newBench(t, map[string]string{"picolab/site/files/etc/conf": "new\n"})
	b.put(b.root, "elsewhere", "old\n")
	if err := os.MkdirAll(filepath.Join(b.root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../elsewhere", filepath.Join(b.root, "etc/conf")); err != nil {
		t.Fatal(err)
	}
	Open(b.o).Apply()
	b.want("elsewhere", "old\n")
	b.want("etc/conf", "new\n")
	if left, _ := filepath.Glob(filepath.Join(b.root, "etc/*.new")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestRegular(t *testing.T) {
	b := newBench(t, map[string]string{
		"site/b": "", "site/a/z": "", "site/a.txt": "", "site/A": "", "site/$RECYCLE.BIN/x": "", "site/.Trash-1000/y": "", "site/dir/desktop.ini": "", "site/dir/._c": "", "site/.hidden": "",
	})
	got, err := regular(filepath.Join(b.stick, "site"))
	want := []string{".hidden", "A", "a.txt", "a/z", "b"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	if _, err := regular(filepath.Join(b.stick, "nothing")); !os.IsNotExist(err) {
		t.Errorf("a folder that is not there: %v", err)
	}
}

func TestNextNumber(t *testing.T) {
	b := newBench(t, map[string]string{"r/001/x": "", "r/notes/x": "", "r/-5/x": "", "s/012/x": "", "s/.unfinished-099/x": ""})
	for want, dirs := range map[int][]string{1: {"/nonexistent", ""}, 2: {filepath.Join(b.stick, "r")}, 13: {filepath.Join(b.stick, "r"), filepath.Join(b.stick, "s")}} {
		if got := nextNumber(dirs...); got != want {
			t.Errorf("%q: %d, want %d", dirs, got, want)
		}
	}
}

// FuzzFATNames: whatever a name is, FAT can have the result, and no two entries of a folder get the same.
func FuzzFATNames(f *testing.F) {
	for _, s := range []string{"a", "A", "con", "x.", "a:b", "\xff", strings.Repeat("é", 200)} {
		f.Add(s, "a")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		taken := map[string]bool{}
		one, two := freeName(taken, a), freeName(taken, b)
		if strings.EqualFold(one, two) {
			t.Errorf("%q and %q are both %q", a, b, one)
		}
		for _, name := range []string{one, two} {
			if name == "" || len(name) > 255 || strings.ContainsAny(name, "\"*/:<>?\\|\x00\n") || strings.TrimRight(name, " .") != name {
				t.Errorf("%q, %q: %q", a, b, name)
			}
		}
	})
}
