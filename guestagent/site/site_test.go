package site

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"picolab/guestagent/internal/netns"
)

func TestMain(m *testing.M) { os.Exit(netns.Run(m)) }

// A bench is a machine started from a stick, in folders.
type bench struct {
	t           *testing.T
	stick, root string
	o           Options
	writable    []bool // what the stick was remounted as

	mu   sync.Mutex
	log  bytes.Buffer
	show bytes.Buffer // the console
}

func newBench(t *testing.T, files map[string]string) *bench {
	b := &bench{t: t, stick: t.TempDir(), root: t.TempDir()}
	for name, text := range files {
		b.put(b.stick, name, text)
	}
	b.o = Options{Stick: b.stick, Root: b.root, Image: "0123abcd", Console: &b.show,
		Logf: func(format string, args ...any) {
			b.mu.Lock()
			defer b.mu.Unlock()
			fmt.Fprintf(&b.log, format+"\n", args...)
		},
		remount: func(_ string, writable bool) error { b.writable = append(b.writable, writable); return nil },
	}
	return b
}

func (b *bench) put(dir, name, text string) {
	b.t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// logged is what was told on the console so far.
func (b *bench) logged() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.String()
}

func (b *bench) want(name, text string) {
	b.t.Helper()
	data, err := os.ReadFile(filepath.Join(b.root, name))
	if err != nil || string(data) != text {
		b.t.Errorf("%s is %q (%v), want %q", name, data, err, text)
	}
}

func mode(t *testing.T, path string) os.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

func TestWithoutFolder(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"nothing": {}, "a file in its place": {"picolab/site": "x"}, "litter alone": {"picolab/site/.DS_Store": "x", "picolab/site/System Volume Information/a": "x"},
	} {
		b := newBench(t, files)
		s := Open(b.o)
		s.Apply()
		if s.Dirty() || s.Image() != "0123abcd" || b.logged() != "" {
			t.Errorf("%s: image %s, told %q", name, s.Image(), b.logged())
		}
		b.want(ImageFile, "0123abcd\n")
	}
}

func TestOff(t *testing.T) {
	b := newBench(t, map[string]string{"picolab/site/autorun": ""})
	b.o.Off = true
	if s := Open(b.o); s.Dirty() || s.autorun != nil {
		t.Errorf("used: %+v", s)
	}
}

func TestNoStick(t *testing.T) {
	b := newBench(t, nil)
	b.o.Stick, b.o.Image = "", ""
	if s := Open(b.o); s.Image() != "unknown" || s.Dirty() {
		t.Errorf("image %s", s.Image())
	}
}

func TestImageOfManifest(t *testing.T) {
	b := newBench(t, map[string]string{"picolab/manifest.json": `{"id":"cafe"}`, "picolab/site/files/x": "1"})
	b.o.Image = ""
	if s := Open(b.o); !strings.HasPrefix(s.Image(), "cafe+dirty.") || len(s.Image()) != len("cafe+dirty.")+12 {
		t.Errorf("image %s", s.Image())
	}
}

func TestApply(t *testing.T) {
	b := newBench(t, map[string]string{
		"picolab/site/network.yaml":        "hostname: lab7\ndns: [192.0.2.53]\nsearch: [lab.example]\nmirror: http://192.0.2.1/x'y\n",
		"picolab/site/authorized_keys":     "# mine\n" + goodKey + "\nrubbish\n",
		"picolab/site/files/etc/motd":      "hello\n",
		"picolab/site/files/opt/run.sh":    "#!/bin/sh\n",
		"picolab/site/files/opt/prog":      "\x7fELF...",
		"picolab/site/files/._opt":         "a Mac's",
		"picolab/site/recipes/mine.yaml":   "name: mine\n",
		"picolab/site/files/etc/short":     "x",
		"picolab/site/files/etc/empty.txt": "",
	})
	b.put(b.root, "etc/motd", "something longer that was there before\n")
	t.Setenv("PICOLAB_MIRROR", "")
	s := Open(b.o)
	s.Apply()
	b.want("etc/motd", "hello\n")
	b.want("etc/short", "x")
	b.want("etc/empty.txt", "")
	b.want("etc/hostname", "lab7\n")
	b.want("etc/resolv.conf", "search lab.example\nnameserver 192.0.2.53\n")
	b.want("etc/profile.d/picolab-site.sh", "export PICOLAB_MIRROR='http://192.0.2.1/x'\\''y'\n")
	b.want("etc/picolab/recipes/mine.yaml", "name: mine\n")
	b.want(keysFile, goodKey+"\n")
	b.want(ImageFile, s.Image()+"\n")
	for name, want := range map[string]os.FileMode{"etc/motd": 0o644, "opt/run.sh": 0o755, "opt/prog": 0o755, keysFile: 0o600, "root/.ssh": 0o700} {
		if got := mode(t, filepath.Join(b.root, name)); got != want {
			t.Errorf("%s has mode %o", name, got)
		}
	}
	if _, err := os.Stat(filepath.Join(b.root, "._opt")); err == nil {
		t.Error("litter was copied")
	}
	if os.Getenv("PICOLAB_MIRROR") != "http://192.0.2.1/x'y" || s.Hostname() != "lab7" {
		t.Errorf("mirror %q, host name %q", os.Getenv("PICOLAB_MIRROR"), s.Hostname())
	}
	if log := b.logged(); !strings.Contains(log, "authorized_keys:3:1: no key type") || strings.Contains(log, "network.yaml") {
		t.Errorf("told: %s", log)
	}
}

// TestFaultsAreTold: whatever is in the folder, the appliance starts, and says what it left out.
func TestFaultsAreTold(t *testing.T) {
	b := newBench(t, map[string]string{
		"picolab/site/network.yaml": "hostname: lab7\nadresses: []\n", "picolab/site/autorun": "profile: fast\n",
		"picolab/site/authorized_keys": "ssh-ed25519 AAAA\n", "picolab/site/files/etc": "a file where a folder is",
	})
	b.put(b.root, "etc/passwd", "")
	s := Open(b.o)
	s.Apply()
	for _, want := range []string{"network.yaml:2:1: unknown field \"adresses\"", "autorun:1:", "\"fast\" is none of quick, full",
		"authorized_keys:1:13: the key is damaged", "nobody may log in", "etc"} {
		if !strings.Contains(b.logged(), want) {
			t.Errorf("not told: %s, but:\n%s", want, b.logged())
		}
	}
	if s.Hostname() != "" || s.autorun != nil {
		t.Error("half of a faulty text is used")
	}
	b.want("etc/passwd", "")
}

func TestDigest(t *testing.T) {
	base := map[string]string{"site/a": "1", "site/b/c": "2"}
	of := func(files map[string]string) string {
		b := newBench(t, files)
		d, err := Digest(filepath.Join(b.stick, "site"))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	want := of(base)
	if len(want) != 64 || of(base) != want {
		t.Errorf("digest %q is not repeated", want)
	}
	if of(map[string]string{"site/a": "1", "site/b/c": "2", "site/Thumbs.db": "x"}) != want {
		t.Error("litter counts")
	}
	for name, files := range map[string]map[string]string{
		"content": {"site/a": "1", "site/b/c": "3"}, "name": {"site/a": "1", "site/b/d": "2"}, "more": {"site/a": "1", "site/b/c": "2", "site/d": ""},
		"moved bytes": {"site/a": "12", "site/b/c": ""}, "place": {"site/a": "1", "site/c": "2"},
	} {
		if of(files) == want {
			t.Errorf("another %s gives the same digest", name)
		}
	}
}

// TestUnreadable: a stick that breaks under the reader.
func TestUnreadable(t *testing.T) {
	b := newBench(t, map[string]string{"picolab/site/autorun": "", "picolab/site/network.yaml": ""})
	if err := os.Remove(filepath.Join(b.stick, "picolab/site/network.yaml")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(b.stick, "picolab/site/network.yaml"), 0o755); err != nil {
		t.Fatal(err)
	}
	if s := Open(b.o); !s.Dirty() || !strings.Contains(b.logged(), "network.yaml is no file") {
		t.Errorf("told: %s", b.logged())
	}
	if err := hashFile(io.Discard, b.stick, "gone"); err == nil {
		t.Error("a file that is gone has a hash")
	}
}
