package debian

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"picolab/recipes/debian/archivetest"
)

// TestVerifyRefuses names the guard that must stop each text: several of them stand behind one another, and none may
// hide that another is gone.
func TestVerifyRefuses(t *testing.T) {
	key := archivetest.NewKey(t)
	ring := keyring(t, archivetest.Keyring(t, key))
	good := archivetest.Sign(t, "Origin: Test\nLabel: x\n", nil, key)
	change := func(old, new string) []byte { return bytes.Replace(good, []byte(old), []byte(new), 1) }
	block := good[bytes.Index(good, []byte(beginSignature)):]
	manyKeys := make([]archivetest.Key, maxSignatures+1)
	for i := range manyKeys {
		manyKeys[i] = key
	}
	for _, c := range []struct {
		name string
		text []byte
		want string
	}{
		{"too long", append(bytes.Repeat([]byte("x"), maxInRelease), good...), "bytes are too many"},
		{"signed but not UTF-8", archivetest.Sign(t, "Origin: \xff\n", nil, key), "text is not UTF-8"},
		{"before", append([]byte("x\n"), good...), "it does not begin with a signed message"},
		{"after", append(bytes.Clone(good), 'x', '\n'), "something is after the signature"},
		{"no line end", good[:len(good)-1], "something is after the signature"},
		{"signed control character", archivetest.Sign(t, "Origin: \x1b\n", nil, key), "line 4: control character"},
		{"blank at line end", change("Label: x", "Label: x "), "blanks at its end"},
		{"two messages", append(bytes.Clone(good), good...), "not exactly one signed message"},
		{"two blocks", append(bytes.Clone(good), block...), "not exactly one signed message"},
		{"other frame", change("Label: x", "-----BEGIN PGP MESSAGE-----"), "not exactly one signed message"},
		{"other header", change("Hash: SHA256", "Hash: SHA256\nComment: x"), "not one well-formed"},
		{"SHA-1 announced", change("Hash: SHA256", "Hash: SHA1"), `hash "SHA1" is too weak or unknown`},
		{"none announced", change("Hash: SHA256\n", ""), "no Hash header"},
		{"another announced", change("Hash: SHA256", "Hash: SHA512"), "no good signature"},
		{"text changed", change("Label: x", "Label: y"), "no good signature"},
		{"empty signature", append(bytes.Clone(good[:len(good)-len(block)]), beginSignature+"\n\n"+endSignature+"\n"...), "signature"},
		{"key as signature", withArmor(good, block, "mDMEZ0", t), "signature"},
		{"too many signatures", archivetest.Sign(t, "Origin: Test\n", nil, manyKeys...), "too many packets"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := ring.Verify(c.text, time.Now()); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

// withArmor replaces the beginning of the signature's base64.
func withArmor(good, block []byte, begin string, t *testing.T) []byte {
	t.Helper()
	lines := bytes.SplitN(block, []byte("\n"), 4)
	if len(lines) < 4 {
		t.Fatalf("odd signature %q", block)
	}
	lines[2] = append([]byte(begin), lines[2][len(begin):]...)
	return append(bytes.Clone(good[:len(good)-len(block)]), bytes.Join(lines, []byte("\n"))...)
}

const goodRelease = `Suite: stable
Codename: trixie
Date: Sat, 12 Sep 2026 07:55:41 UTC
Architectures: all amd64
Components: main
SHA256:
 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 100 main/binary-amd64/Packages
 bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb 50 main/binary-amd64/Packages.xz
 cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc 0 main/binary-arm64/Packages
`

func TestParseRelease(t *testing.T) {
	r, err := ParseRelease([]byte(goodRelease))
	if err != nil {
		t.Fatal(err)
	}
	name, packed, plain, err := r.Packages("main", "amd64")
	if err != nil || name != "main/binary-amd64/Packages.xz" || packed.Size != 50 || plain.Size != 100 {
		t.Errorf("%s %+v %+v %v", name, packed, plain, err)
	}
	if got := ByHashName(name, packed); got != "main/binary-amd64/by-hash/SHA256/"+packed.SHA256 {
		t.Errorf("by hash: %s", got)
	}
	if r.Date.Unix() != 1789199741 || !r.ValidUntil.IsZero() || r.ByHash {
		t.Errorf("%+v", r)
	}
}

// refusal is a text and the message of the guard that must stop it.
type refusal struct{ old, new, want string }

func (c refusal) check(t *testing.T, good string, parse func(string) error) {
	t.Helper()
	bad := strings.Replace(good, c.old, c.new, 1)
	if bad == good {
		t.Errorf("%q: the case changes nothing", c.old)
	}
	if err := parse(bad); err == nil || !strings.Contains(err.Error(), c.want) {
		t.Errorf("%q for %q: error %v, want one with %q", c.new, c.old, err, c.want)
	}
}

func TestParseReleaseRefuses(t *testing.T) {
	for _, c := range []refusal{
		{goodRelease, "", "0 stanzas"},
		{"Date:", "\nDate:", "2 stanzas"},
		{"Suite: stable\nCodename: trixie\n", "", "fields Suite and Codename"},
		{"Components: main\n", "", "fields Suite and Codename"},
		{"Architectures: all amd64\n", "Architectures:\n", "fields Suite and Codename"},
		{"Sat, 12", "12", "field Date"},
		{" UTC", "", "field Date"},
		{"Components", "Valid-Until: soon\nComponents", "field Valid-Until"},
		{goodRelease[strings.Index(goodRelease, "SHA256"):], "", "field SHA256 is missing or empty"},
		{" 100 ", " 100 x ", "is not a digest, a size and a name"},
		{" aaaa", " aaa", "is not a digest, a size and a name"},
		{" aaaa", " AAAA", "is not a digest, a size and a name"},
		{" 100 ", " -100 ", "is not a number"},
		{" 100 ", " 1e2 ", "is not a number"},
		{" 100 ", " 9999999999999999999999 ", "is not a number"},
		{"Packages.xz", "Packages", "comes twice"},
		{"Packages.xz", strings.Repeat("x", maxNameBytes+1), "is not a digest, a size and a name"},
	} {
		c.check(t, goodRelease, func(text string) error { _, err := ParseRelease([]byte(text)); return err })
	}
	for _, c := range []refusal{
		{"Packages.xz", "Packages.gz", "lists no main/binary-amd64/Packages.xz"},
		{"amd64/Packages\n", "amd64/Release\n", "lists no main/binary-amd64/Packages"},
		{" 100 ", " 2000000000 ", "are too many"},
		{" 50 ", " 2000000000 ", "are too many"},
	} {
		c.check(t, goodRelease, func(text string) error {
			r, err := ParseRelease([]byte(text))
			if err == nil {
				_, _, _, err = r.Packages("main", "amd64")
			}
			return err
		})
	}
}

func TestReleaseCheck(t *testing.T) {
	r, err := ParseRelease([]byte(strings.Replace(goodRelease, "Components", "Valid-Until: Sun, 13 Sep 2026 07:55:41 UTC\nComponents", 1)))
	if err != nil {
		t.Fatal(err)
	}
	good := Expect{Suite: "trixie", Components: []string{"main"}, Architecture: "amd64", Now: r.Date.Add(time.Hour), NotBefore: r.Date}
	for _, suite := range []string{"trixie", "stable"} {
		e := good
		e.Suite = suite
		if err := r.Check(e); err != nil {
			t.Error(err)
		}
	}
	for want, change := range map[string]func(*Expect){
		`the mirror sent suite "stable"`: func(e *Expect) { e.Suite = "sid" },
		"in the future":                  func(e *Expect) { e.Now = r.Date.Add(-time.Hour) },
		"a rollback":                     func(e *Expect) { e.NotBefore = r.Date.Add(time.Second) },
		"expired at 2026-09-13":          func(e *Expect) { e.Now = r.ValidUntil.Add(time.Second) },
		"no architecture riscv64":        func(e *Expect) { e.Architecture = "riscv64" },
		"no component non-free":          func(e *Expect) { e.Components = []string{"main", "non-free"} },
	} {
		e := good
		change(&e)
		if err := r.Check(e); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

func TestParsePackages(t *testing.T) {
	good := archivetest.Package{Name: "app", Version: "1.0", Fields: "Source: app-src (1)\nPriority: optional\n"}.Stanza()
	all := strings.Replace(good, "amd64", "all", 1)
	foreign := strings.Replace(strings.Replace(good, "amd64", "arm64", 1), "SHA256", "MD5", 1)
	list, err := ParsePackages([]byte(good+"\n"+all+"\n"+foreign), "amd64")
	if err != nil || len(list) != 2 || list[0].Source != "app-src (1)" || list[1].Architecture != "all" {
		t.Errorf("%+v, %v", list, err)
	}
	for _, c := range []refusal{
		{"Package: app", "Package: App", "not a package name"},
		{"Package: app\n", "", "not a package name"},
		{"Architecture: amd64\n", "", "no Architecture"},
		{"Version: 1.0", "Version: 1 0", "is not a version"},
		{"Version: 1.0", "Version: 1." + strings.Repeat("0", 300), "is not a version"},
		{"SHA256: ", "SHA256: g", "is not a digest"},
		{"Size: ", "Size: 0", "is not a number"},
		{"Size: ", "Size: 9999999999", "is not a number"},
		{"Source: app-src (1)", "Source: app-src [1]", "is not a source package"},
		{"Filename: pool", "Filename: ..", "is not a clean relative path"},
		{"Filename: pool", "Filename: pool//x", "is not a clean relative path"},
		{"Filename: pool", "Filename: " + strings.Repeat("x/", 600), "is not a clean relative path"},
		{".deb", ".udeb.txt", "does not end in .deb"},
	} {
		c.check(t, good, func(text string) error { _, err := ParsePackages([]byte(text), "amd64"); return err })
	}
}
