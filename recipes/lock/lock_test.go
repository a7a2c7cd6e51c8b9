package lock

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"picolab/recipes"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	digestA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	digestB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

// sample is a lock with one of everything.
func sample() *Lock {
	return &Lock{
		Version: 1, Recipe: "lab", RecipeSHA256: digestA, Architecture: "amd64", Epoch: 1789199741, Keyrings: []string{digestB},
		Suites: []Suite{
			{Name: "trixie", Date: "2026-09-12T07:55:41Z", InReleaseSHA256: digestA},
			{Name: "trixie-security", Path: "debian-security", Date: "2026-09-10T00:00:00Z", ValidUntil: "2026-09-17T00:00:00Z", InReleaseSHA256: digestB},
		},
		Packages: []Package{
			{Name: "libc6", Version: "2.41-12", Architecture: "amd64", Suite: "trixie", Filename: "pool/main/g/glibc/libc6_2.41-12_amd64.deb", Size: 100, SHA256: digestA, Source: "glibc"},
			{Name: "tcpdump", Version: "4.99.5-2+deb13u1", Architecture: "amd64", Suite: "trixie-security", Filename: "pool/updates/main/t/tcpdump/tcpdump_4.99.5-2+deb13u1_amd64.deb", Size: 200, SHA256: digestB, Source: "tcpdump"},
			{Name: "linux-image-6.12-amd64", Version: "6.12-1", Architecture: "amd64", Suite: "trixie", Filename: "pool/main/l/linux/linux-image-6.12-amd64_6.12-1_amd64.deb", Size: 300, SHA256: digestA, Source: "linux-signed-amd64 (6.12+1)", Role: RoleKernel},
		},
	}
}

// TestEncode pins the format: a change here changes every lock that people have committed.
func TestEncode(t *testing.T) {
	golden := filepath.Join("testdata", "sample.lock")
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	got := sample().Encode()
	if !bytes.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	l, err := Read(bytes.NewReader(got))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(l.Encode(), got) || l.Digest() != sample().Digest() {
		t.Error("reading and writing changes the lock")
	}
}

func TestReadRefuses(t *testing.T) {
	text := string(sample().Encode())
	for name, c := range map[string]struct{ old, new, want string }{
		"empty":                {text, "", "read lock"},
		"not json":             {text, "name: guest\n", "line 1"},
		"unknown field":        {`"epoch"`, `"epoc"`, "epoc"},
		"repeated field":       {` "epoch": 1789199741,`, " \"epoch\": 1,\n \"epoch\": 1789199741,", "line 6 is not as labimage writes it"},
		"comment":              {"{\n", "// x\n{\n", "line 1"},
		"text after":           {"]\n}\n", "]\n}\n{}\n", "not as labimage writes it"},
		"blank after":          {"]\n}\n", "]\n}\n\n", "not as labimage writes it"},
		"other indent":         {" \"epoch\"", "  \"epoch\"", "line 6 is not as labimage writes it"},
		"merge marker":         {" \"epoch\"", "<<<<<<< HEAD\n \"epoch\"", "line 6"},
		"newer version":        {`"version": 1`, `"version": 2`, "format version 2, this program knows 1"},
		"odd recipe":           {`"recipe": "lab"`, `"recipe": "../lab"`, "is not a name"},
		"odd digest":           {`"recipe_sha256": "a`, `"recipe_sha256": "A`, "is not a digest"},
		"odd architecture":     {`"architecture": "amd64",` + "\n \"epoch\"", `"architecture": "z80",` + "\n \"epoch\"", "is not supported"},
		"no epoch":             {"1789199741", "0", "is not a time"},
		"huge epoch":           {"1789199741", "99999999999999", "is not a time"},
		"epoch too big":        {"1789199741", "99999999999999999999999", "read lock"},
		"odd keyring":          {digestB + "\"\n ],", "x\"\n ],", "keyring"},
		"odd date":             {"2026-09-12T07:55:41Z", "yesterday", "date"},
		"odd valid-until":      {"2026-09-17T00:00:00Z", "never", "valid_until"},
		"odd path":             {"debian-security", "../x", "bad name or path"},
		"suite twice":          {`"trixie-security",` + "\n   \"path\"", `"trixie",` + "\n   \"path\"", "comes twice"},
		"unknown suite":        {`"suite": "trixie-security"`, `"suite": "sid"`, "is not in the lock"},
		"package twice":        {`"name": "tcpdump"`, `"name": "libc6"`, "comes twice or is out of order"},
		"out of order":         {`"name": "tcpdump"`, `"name": "aaa"`, "comes twice or is out of order"},
		"odd package":          {`"name": "tcpdump"`, `"name": "/tcpdump"`, "not a package name"},
		"odd version":          {`"version": "2.41-12"`, `"version": "2;41"`, "version"},
		"climbing file":        {"pool/main/g", "../main/g", "is not a clean relative path"},
		"absolute file":        {"pool/main/g", "/main/g", "is not a clean relative path"},
		"odd file":             {"_2.41-12_amd64.deb", "_2.41-12_amd64.exe", ".deb"},
		"negative size":        {`"size": 100`, `"size": -100`, "size"},
		"fraction":             {`"size": 100`, `"size": 1.5`, "read lock"},
		"odd source":           {`"source": "glibc"`, `"source": "g libc"`, "source"},
		"odd role":             {`"role": "kernel"`, `"role": "boss"`, "role"},
		"foreign architecture": {`"architecture": "amd64",` + "\n   \"suite\"", `"architecture": "arm64",` + "\n   \"suite\"", "architecture"},
		"no keyrings":          {"[\n  \"" + digestB + "\"\n ]", "[]", "no suites or no keyrings"},
		"odd index digest":     {`"inrelease_sha256": "a`, `"inrelease_sha256": "x`, "inrelease_sha256"},
		"odd suite mirror":     {`"path": "debian-security"`, `"mirror": "file:///"`, "is not an http or https URL"},
		"odd deb digest":       {`"sha256": "a`, `"sha256": "x`, "sha256"},
		"epoch not a number":   {"1789199741", `"x"`, "line 6"},
	} {
		t.Run(name, func(t *testing.T) {
			bad := strings.Replace(text, c.old, c.new, 1)
			if bad == text {
				t.Fatal("the case changes nothing")
			}
			if _, err := Read(strings.NewReader(bad)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestMatches(t *testing.T) {
	r := parse(t, sceneRecipe)
	l := sample()
	if err := l.Matches(r); !errors.Is(err, ErrMismatch) || !strings.Contains(err.Error(), "labimage lock scene") {
		t.Errorf("error %v", err)
	}
	l.RecipeSHA256 = r.ResolutionDigest()
	if err := l.Matches(r); err != nil {
		t.Error(err)
	}
}

// TestEmbeddedLocks: the committed locks are intact and belong to their recipes.
func TestEmbeddedLocks(t *testing.T) {
	for _, name := range recipes.Names() {
		r, err := recipes.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		l, err := Open(name, r)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if last := l.Packages[len(l.Packages)-1]; last.Role != RoleKernel {
			t.Errorf("%s: the last package is %s, not the kernel", name, last.Name)
		}
		if len(l.Packages) > 300 {
			t.Errorf("%s: %d packages", name, len(l.Packages))
		}
	}
}

func TestItems(t *testing.T) {
	items, err := sample().Items("http://mirror.example/debian/")
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{
		"http://mirror.example/debian/pool/main/g/glibc/libc6_2.41-12_amd64.deb",
		"http://mirror.example/debian-security/pool/updates/main/t/tcpdump/tcpdump_4.99.5-2+deb13u1_amd64.deb",
		"http://mirror.example/debian/pool/main/l/linux/linux-image-6.12-amd64_6.12-1_amd64.deb",
	} {
		if items[i].URL != want {
			t.Errorf("item %d is %s, want %s", i, items[i].URL, want)
		}
	}
	l := sample()
	l.Suites[1].Mirror = "https://other.example/x"
	if items, err = l.Items("http://mirror.example/debian"); err != nil || !strings.HasPrefix(items[1].URL, "https://other.example/x/pool/") {
		t.Errorf("%v, %v", items, err)
	}
}

func TestDiff(t *testing.T) {
	old, new := sample(), sample()
	if d := Diff(old, new); d != "" {
		t.Errorf("of equal locks: %q", d)
	}
	new.Suites[0].Date, new.Keyrings = "2026-10-01T00:00:00Z", []string{digestA}
	new.Packages[0].Version = "2.41-13"
	new.Packages[1].Version = "4.99.4-1"
	new.Packages[2].SHA256 = digestB
	added := new.Packages[0]
	added.Name, added.Size = "dash", 1_500_000
	new.Packages = append([]Package{added}, new.Packages...)
	removed := old.Packages[1]
	removed.Name = "zsh"
	old.Packages = []Package{old.Packages[0], old.Packages[1], removed, old.Packages[2]}
	want := `~ keyring bbbbbbbbbbbb -> aaaaaaaaaaaa
^ suite trixie of 2026-09-12T07:55:41Z -> 2026-10-01T00:00:00Z
+ dash 2.41-13 (1.5 MB)
^ libc6 2.41-12 -> 2.41-13
v tcpdump 4.99.5-2+deb13u1 -> 4.99.4-1
- zsh 4.99.5-2+deb13u1
~ linux-image-6.12-amd64 (kernel) 6.12-1: other file or suite
= 4 packages, 1.5 MB
`
	if got := Diff(old, new); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := Diff(nil, sample()); strings.Count(got, "\n+ ")+1 != 5 {
		t.Errorf("from nothing:\n%s", got)
	}
}

// FuzzRead: what is read is canonical, and nothing in it could leave a folder.
func FuzzRead(f *testing.F) {
	f.Add(sample().Encode())
	f.Add([]byte("{}"))
	f.Add([]byte(`{"version": 1, "packages": [{"filename": "../x"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := Read(bytes.NewReader(text))
		if err != nil {
			return
		}
		if !bytes.Equal(l.Encode(), text) || !json.Valid(text) {
			t.Error("accepted what it would not write")
		}
		for _, p := range l.Packages {
			if strings.Contains("/"+p.Filename+"/", "/../") || strings.ContainsAny(p.Name+p.Suite, "/ ") {
				t.Errorf("accepted %+v", p)
			}
		}
	})
}
