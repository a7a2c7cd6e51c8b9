package fetch

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	deb822Debian = "# comment\nTypes: deb deb-src\n# http://old.example/debian\nURIs: http://mirror.example/debian/\nSuites: trixie trixie-updates\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
	deb822Vendor = "Types: deb\nURIs: https://vendor.example/linux/debian\nSuites: trixie\nComponents: main\nSigned-By: /etc/apt/keyrings/vendor.gpg\n"
	deb822Secure = "Types: deb\nURIs: http://mirror.example/debian-security\nSuites: trixie-security\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
)

func TestMachineMirror(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"none", nil, ""},
		{"deb822", map[string]string{"sources.list.d/debian.sources": deb822Debian}, "http://mirror.example/debian"},
		{"one-line", map[string]string{"sources.list": "deb http://mirror.example/debian trixie main contrib\n"}, "http://mirror.example/debian"},
		{"options", map[string]string{"sources.list": "deb [ arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg ] https://m.example/pub/d trixie main # x\n"}, "https://m.example/pub/d"},
		{"snapshot", map[string]string{"sources.list": "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://s.example/archive/debian/20260901T000000Z trixie main\n"}, "http://s.example/archive/debian/20260901T000000Z"},
		{"commented", map[string]string{"sources.list": "# deb http://mirror.example/debian trixie main\n"}, ""},
		{"source-only", map[string]string{"sources.list": "deb-src http://mirror.example/debian trixie main\n"}, ""},
		{"disabled", map[string]string{"sources.list.d/a.sources": "Enabled: no\n" + deb822Debian}, ""},
		{"vendor", map[string]string{"sources.list.d/a.sources": deb822Vendor}, ""},
		{"vendor-without-main", map[string]string{"sources.list": "deb https://vendor.example/linux/debian trixie stable\n"}, ""},
		{"vendor-suite", map[string]string{"sources.list": "deb https://vendor.example/debian trixie-pgdg main\n"}, ""},
		{"vendor-first", map[string]string{"sources.list.d/a.sources": deb822Vendor, "sources.list.d/b.sources": deb822Debian}, "http://mirror.example/debian"},
		{"security-first", map[string]string{"sources.list.d/a.sources": deb822Secure + "\n" + deb822Debian}, "http://mirror.example/debian"},
		{"security-only", map[string]string{"sources.list": "deb http://mirror.example/debian-security trixie-security main\n"}, ""},
		{"old-security", map[string]string{"sources.list": "deb http://security.example/debian-security buster/updates main\n"}, ""},
		{"cdrom", map[string]string{"sources.list": "deb cdrom:[Debian_13]/ trixie main\ndeb http://mirror.example/debian trixie main\n"}, "http://mirror.example/debian"},
		{"list-before-parts", map[string]string{"sources.list": "deb http://first.example/debian trixie main\n", "sources.list.d/a.sources": deb822Debian}, "http://first.example/debian"},
		{"broken-file", map[string]string{"sources.list.d/a.sources": "nonsense\n", "sources.list.d/b.list": "deb http://mirror.example/debian trixie main\n"}, "http://mirror.example/debian"},
		{"other-ending", map[string]string{"sources.list.d/a.sources.disabled": deb822Debian}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range c.files {
				file := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if got := machineMirror(dir); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestMirrorPrecedence(t *testing.T) {
	t.Setenv("PICOLAB_MIRROR", "http://env.example/debian/")
	for _, c := range []struct{ flag, recipe, want string }{
		{"http://flag.example/debian/", "http://recipe.example/debian", "http://flag.example/debian"},
		{"", "http://recipe.example/debian", "http://env.example/debian"},
	} {
		if got, err := Mirror(c.flag, c.recipe); err != nil || got != c.want {
			t.Errorf("got %q (%v), want %q", got, err, c.want)
		}
	}
	if _, err := Mirror("ftp://x/debian", ""); err == nil {
		t.Error("an ftp mirror was accepted")
	}
	t.Setenv("PICOLAB_MIRROR", "")
	if got, err := Mirror("", "http://recipe.example/debian"); err != nil || got != "http://recipe.example/debian" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestBase(t *testing.T) {
	for _, c := range []struct{ mirror, path, want string }{
		{"http://h/debian", "", "http://h/debian"},
		{"http://h/debian/", "debian-security", "http://h/debian-security"},
		{"http://h/a/debian/20260901T000000Z/", "debian-security", "http://h/a/debian-security/20260901T000000Z"},
		{"http://h/pub/d", "debian-security", "http://h/pub/debian-security"},
		{"http://h", "debian-security", "http://h/debian-security"},
	} {
		if got, err := Base(c.mirror, c.path); err != nil || got != c.want {
			t.Errorf("Base(%q, %q) = %q (%v), want %q", c.mirror, c.path, got, err, c.want)
		}
	}
	if _, err := Base("debian", "x"); err == nil {
		t.Error("a mirror without a host was accepted")
	}
}

// FuzzSources: whatever a sources file holds, what is taken from it is an http URL.
func FuzzSources(f *testing.F) {
	for _, seed := range []string{deb822Debian, deb822Vendor, "deb http://mirror.example/debian trixie main\n", "deb [a=b] http://[::1]/debian x main", "Types: deb\n URIs"} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, text string, deb822 bool) {
		name := "a.list"
		if deb822 {
			name = "a.sources"
		}
		for _, s := range parseSources(name, []byte(text)) {
			if m := s.archive(); m != "" && (!isHTTP(m) || strings.ContainsAny(m, " \n\t")) {
				t.Errorf("took %q", m)
			}
		}
	})
}
