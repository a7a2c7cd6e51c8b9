package archivetest

import (
	"bytes"
	"crypto"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// A Scene is a good archive on a mirror, and what an attacker needs to spoil it. The suite is named trixie; who reads it
// has a lock made at Suite.Date.
type Scene struct {
	Mirror  *Mirror
	Suite   Suite
	Key     Key    // the archive's
	Other   Key    // a stranger's
	Keyring string // with Key and an expired key
	expired Key
}

// Paths of the scene's files; ByHash is a pattern for Mirror.Find.
const (
	InRelease = "/debian/dists/trixie/InRelease"
	ByHash    = "/debian/dists/trixie/main/binary-amd64/by-hash/SHA256/*"
)

// NewScene makes a good archive: package app depends on lib.
func NewScene(t testing.TB) *Scene {
	t.Helper()
	s := &Scene{Mirror: NewMirror(t), Key: NewKey(t), Other: NewKey(t), expired: ExpiredKey(t)}
	s.Keyring = Keyring(t, s.Key, s.expired)
	s.Suite = Suite{Name: "trixie", Date: time.Now().Add(-24 * time.Hour).Truncate(time.Second), Packages: []Package{
		{Name: "app", Version: "1.0-1", Fields: "Depends: lib (>= 1)\n"}, {Name: "lib", Version: "1.2-3"},
	}}
	s.Mirror.Put(t, s.Suite, s.Key)
	return s
}

// An Attack spoils a scene. Nobody may make a lock from what is left.
type Attack struct {
	Name  string
	Apply func(testing.TB, *Scene)
}

// Attacks is what apt's history and The Update Framework's list of attacks have: forged and stripped signatures,
// smuggled text, expiry, rollback, mix-and-match, wrong and endless data, and signed nonsense.
func Attacks() []Attack {
	var all []Attack
	all = append(all, signatureAttacks...)
	all = append(all, releaseAttacks...)
	all = append(all, transportAttacks...)
	return append(all, indexAttacks...)
}

// replace puts other bytes in the place of InRelease.
func replace(f func(t testing.TB, s *Scene, good []byte) []byte) func(testing.TB, *Scene) {
	return func(t testing.TB, s *Scene) { s.Mirror.Set(InRelease, f(t, s, s.Mirror.Get(InRelease))) }
}

// resign publishes a changed suite with the archive's own key.
func resign(f func(*Suite)) func(testing.TB, *Scene) {
	return func(t testing.TB, s *Scene) {
		changed := s.Suite
		changed.Packages = append([]Package(nil), s.Suite.Packages...)
		f(&changed)
		s.Mirror.Put(t, changed, s.Key)
	}
}

// edit signs a changed Release text.
func edit(old, new string) func(testing.TB, *Scene) {
	return resign(func(s *Suite) {
		s.Edit = func(text string) string { return strings.Replace(text, old, new, 1) }
	})
}

// entry publishes one more package with a stanza of its own.
func entry(old, new string) func(testing.TB, *Scene) {
	return resign(func(s *Suite) {
		p := Package{Name: "evil", Version: "1"}
		p.Raw = strings.Replace(p.Stanza(), old, new, 1)
		s.Packages = append(s.Packages, p)
	})
}

func signedWith(config packet.Config) func(testing.TB, *Scene) {
	return resign(func(s *Suite) { s.Config = &config })
}

func at(d time.Duration) func() time.Time { return func() time.Time { return time.Now().Add(d) } }

var signatureAttacks = []Attack{
	{"unsigned", replace(func(t testing.TB, s *Scene, _ []byte) []byte { return []byte(s.Suite.Release()) })},
	{"empty", replace(func(testing.TB, *Scene, []byte) []byte { return []byte{} })},
	{"portal-page", replace(func(testing.TB, *Scene, []byte) []byte { return []byte("<html><body>Please log in</body></html>\n") })},
	{"wrong-key", replace(func(t testing.TB, s *Scene, _ []byte) []byte { return Sign(t, s.Suite.Release(), nil, s.Other) })},
	{"expired-key", replace(func(t testing.TB, s *Scene, _ []byte) []byte { return Sign(t, s.Suite.Release(), nil, s.expired) })},
	{"expired-signature", signedWith(packet.Config{Time: at(-48 * time.Hour), SigLifetimeSecs: 3600})},
	{"signature-from-the-future", signedWith(packet.Config{Time: at(48 * time.Hour)})},
	{"tampered-digest", replace(func(_ testing.TB, _ *Scene, good []byte) []byte {
		i := bytes.Index(good, []byte("SHA256:\n ")) + len("SHA256:\n ")
		bad := bytes.Clone(good)
		bad[i] ^= 1
		return bad
	})},
	{"tampered-signature", replace(func(_ testing.TB, _ *Scene, good []byte) []byte {
		i := bytes.Index(good, []byte("-----BEGIN PGP SIGNATURE-----")) + 60
		bad := bytes.Clone(good)
		bad[i], bad[i+1] = bad[i+1], bad[i]
		if bad[i] == bad[i+1] {
			bad[i] = 'A' + (bad[i]-'A'+1)%26
		}
		return bad
	})},
	{"foreign-signature", replace(func(t testing.TB, s *Scene, good []byte) []byte {
		other := Sign(t, "Suite: other\n", nil, s.Key)
		cut := []byte("-----BEGIN PGP SIGNATURE-----")
		return append(bytes.Clone(good[:bytes.Index(good, cut)]), other[bytes.Index(other, cut):]...)
	})},
	{"text-before", replace(func(_ testing.TB, s *Scene, good []byte) []byte { return append([]byte("Origin: Evil\n"), good...) })},
	{"blank-line-before", replace(func(_ testing.TB, s *Scene, good []byte) []byte { return append([]byte("\n"), good...) })},
	{"text-after", replace(func(_ testing.TB, s *Scene, good []byte) []byte { return append(good, "\nOrigin: Evil\n"...) })},
	{"two-messages", replace(func(t testing.TB, s *Scene, good []byte) []byte { return append(bytes.Clone(good), good...) })},
	{"evil-message-first", replace(func(t testing.TB, s *Scene, good []byte) []byte {
		return append(Sign(t, s.Suite.Release(), nil, s.Other), good...)
	})},
	{"two-signature-blocks", replace(func(_ testing.TB, _ *Scene, good []byte) []byte {
		block := good[bytes.Index(good, []byte("-----BEGIN PGP SIGNATURE-----")):]
		return append(bytes.Clone(good), block...)
	})},
	{"smuggled-header", replace(func(_ testing.TB, _ *Scene, good []byte) []byte {
		return bytes.Replace(good, []byte("\n\nOrigin"), []byte("\nSuite: evil\n\nOrigin"), 1)
	})},
	{"smuggled-blank-header", replace(func(_ testing.TB, _ *Scene, good []byte) []byte {
		return bytes.Replace(good, []byte("\n\nOrigin"), []byte("\n \nSuite: evil\n\nOrigin"), 1)
	})},
	{"no-hash-header", replace(func(_ testing.TB, _ *Scene, good []byte) []byte {
		return bytes.Replace(good, []byte("Hash: SHA256\n"), nil, 1)
	})},
	{"weak-hash-header", replace(func(_ testing.TB, _ *Scene, good []byte) []byte {
		return bytes.Replace(good, []byte("Hash: SHA256"), []byte("Hash: SHA1"), 1)
	})},
	{"other-hash-header", replace(func(_ testing.TB, _ *Scene, good []byte) []byte {
		return bytes.Replace(good, []byte("Hash: SHA256"), []byte("Hash: SHA512"), 1)
	})},
	{"weak-hash", func(t testing.TB, s *Scene) {
		signed := Sign(t, s.Suite.Release(), &packet.Config{DefaultHash: crypto.SHA224}, s.Key)
		s.Mirror.Set(InRelease, bytes.Replace(signed, []byte("Hash: SHA256"), []byte("Hash: SHA224"), 1))
		if bytes.Contains(signed, []byte("Hash: SHA256")) { // the library chose a strong one after all
			s.Mirror.Set(InRelease, bytes.Replace(signed, []byte("Hash: SHA256"), []byte("Hash: MD5"), 1))
		}
	}},
	{"carriage-returns", replace(func(_ testing.TB, _ *Scene, good []byte) []byte {
		return bytes.ReplaceAll(good, []byte("\n"), []byte("\r\n"))
	})},
	{"trailing-blanks", replace(func(_ testing.TB, _ *Scene, good []byte) []byte {
		return bytes.Replace(good, []byte("Origin: Test\n"), []byte("Origin: Test \n"), 1)
	})},
	{"null-byte", replace(func(_ testing.TB, _ *Scene, good []byte) []byte {
		return bytes.Replace(good, []byte("Origin: Test"), []byte("Origin: Te\x00st"), 1)
	})},
	{"cut-in-body", replace(func(_ testing.TB, _ *Scene, good []byte) []byte { return good[:len(good)/2] })},
	{"cut-in-signature", replace(func(_ testing.TB, _ *Scene, good []byte) []byte { return good[:len(good)-40] })},
}

var releaseAttacks = []Attack{
	{"expired", resign(func(s *Suite) { s.ValidUntil = time.Now().Add(-time.Hour) })},
	{"rollback", resign(func(s *Suite) { s.Date = s.Date.Add(-time.Second) })},
	{"dated-in-the-future", resign(func(s *Suite) { s.Date = time.Now().Add(24 * time.Hour) })},
	{"no-date", edit("Date: ", "Datum: ")},
	{"odd-date", edit(" UTC\n", " +0200\n")},
	{"no-valid-until-value", edit("Acquire-By-Hash", "Valid-Until: never\nAcquire-By-Hash")},
	{"other-suite", func(t testing.TB, s *Scene) {
		other := s.Suite
		other.Name = "bookworm"
		s.Mirror.Set(InRelease, Sign(t, other.Release(), nil, s.Key))
	}},
	{"no-suite", edit("Suite: stable-trixie\nCodename: trixie\n", "")},
	{"no-component", edit("Components: main", "Components: contrib")},
	{"no-architecture", edit("Architectures: all amd64", "Architectures: all arm64")},
	{"only-md5", resign(func(s *Suite) {
		s.Edit = func(text string) string { return text[:strings.Index(text, "SHA256:")] }
	})},
	{"repeated-field", edit("SHA256:", "SHA256:\n 00 1 x\nSHA256:")},
	{"repeated-file", resign(func(s *Suite) {
		s.Edit = func(text string) string { return text + text[strings.LastIndex(text[:len(text)-1], "\n")+1:] }
	})},
	{"two-stanzas", edit("MD5Sum:", "\nMD5Sum:")},
	{"huge-size", resign(func(s *Suite) {
		s.Edit = func(text string) string { return text + fmt.Sprintf(" %064x 99999999999999999999999999 main/x\n", 1) }
	})},
	{"negative-size", resign(func(s *Suite) {
		s.Edit = func(text string) string { return text + fmt.Sprintf(" %064x -1 main/x\n", 1) }
	})},
	{"size-with-leading-zero", resign(func(s *Suite) {
		s.Edit = func(text string) string { return text + fmt.Sprintf(" %064x 0012 main/x\n", 1) }
	})},
	{"index-size-of-a-terabyte", resign(func(s *Suite) {
		s.Edit = func(text string) string {
			lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
			f := strings.Fields(lines[len(lines)-2])
			lines[len(lines)-2] = fmt.Sprintf(" %s %d %s", f[0], int64(1)<<39, f[2])
			return strings.Join(lines, "\n") + "\n"
		}
	})},
	{"short-digest", resign(func(s *Suite) {
		s.Edit = func(text string) string { return text + " 00ff 12 main/x\n" }
	})},
	{"control-character", edit("Origin: Test", "Origin: \x1b[2JTest")},
	{"not-utf-8", edit("Origin: Test", "Origin: \xff\xfe")},
	{"index-not-listed", edit("main/binary-amd64/Packages.xz", "main/binary-amd64/Packages.lz")},
	{"wrong-unpacked-digest", resign(func(s *Suite) {
		s.Edit = func(text string) string {
			i := strings.Index(text, "SHA256:\n ") + len("SHA256:\n ")
			return text[:i] + flip(text[i:i+1]) + text[i+1:]
		}
	})},
	{"unpacks-to-more", resign(func(s *Suite) {
		s.Edit = func(text string) string {
			lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
			f := strings.Fields(lines[len(lines)-2])
			lines[len(lines)-2] = fmt.Sprintf(" %s 10 %s", f[0], f[2])
			return strings.Join(lines, "\n") + "\n"
		}
	})},
}

func flip(digit string) string {
	if digit == "0" {
		return "1"
	}
	return "0"
}

// onIndex changes the bytes of the compressed index, whose digest is signed.
func onIndex(f func(good []byte) []byte) func(testing.TB, *Scene) {
	return func(t testing.TB, s *Scene) {
		file := s.Mirror.Find(t, ByHash)
		s.Mirror.Set(file, f(bytes.Clone(s.Mirror.Get(file))))
	}
}

func answer(find string, h http.HandlerFunc) func(testing.TB, *Scene) {
	return func(t testing.TB, s *Scene) { s.Mirror.Handle(s.Mirror.Find(t, find), h) }
}

// endless sends the beginning of nothing in particular until the reader has enough.
func endless(w http.ResponseWriter, _ *http.Request) {
	chunk := bytes.Repeat([]byte("x"), 1<<16)
	for range 1 << 14 { // 1 GiB
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}

var transportAttacks = []Attack{
	{"index-changed", onIndex(func(b []byte) []byte { b[len(b)/2] ^= 0x40; return b })},
	{"index-swapped-for-same-size", onIndex(func(b []byte) []byte { return bytes.Repeat([]byte{0xfd}, len(b)) })},
	{"index-too-long", onIndex(func(b []byte) []byte { return append(b, 0) })},
	{"index-truncated", onIndex(func(b []byte) []byte { return b[:len(b)-1] })},
	{"index-empty", onIndex(func([]byte) []byte { return []byte{} })},
	{"index-replayed", func(t testing.TB, s *Scene) {
		file := s.Mirror.Find(t, ByHash)
		old := s.Suite
		old.Packages = []Package{{Name: "app", Version: "0.1-1"}}
		s.Mirror.Set(file, Compress([]byte(old.Index())))
	}},
	{"index-gone", func(t testing.TB, s *Scene) { s.Mirror.Set(s.Mirror.Find(t, ByHash), nil) }},
	{"release-gone", func(_ testing.TB, s *Scene) { s.Mirror.Set(InRelease, nil) }},
	{"release-endless", answer(InRelease, endless)},
	{"index-endless", answer(ByHash, endless)},
	{"redirect-loop", answer(InRelease, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) })},
	{"redirect-to-file", answer(InRelease, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
	})},
	{"forbidden", answer(InRelease, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })},
	{"always-broken", answer(InRelease, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })},
	{"not-modified", answer(InRelease, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) })},
}

var indexAttacks = []Attack{
	{"filename-climbs", entry("Filename: pool/", "Filename: ../../")},
	{"filename-climbs-inside", entry("Filename: pool/", "Filename: pool/../../x/")},
	{"filename-absolute", entry("Filename: pool/", "Filename: /etc/")},
	{"filename-escaped", entry("Filename: pool/", "Filename: pool/%2e%2e/")},
	{"filename-is-a-url", entry("Filename: pool/", "Filename: http://evil.example/")},
	{"filename-with-query", entry("_amd64.deb", "_amd64.deb?x=.deb")},
	{"filename-missing", entry("Filename:", "File:")},
	{"deb-size-huge", entry("Size: ", "Size: 99999999999999999999")},
	{"deb-size-negative", entry("Size: ", "Size: -")},
	{"deb-size-missing", entry("Size:", "Taille:")},
	{"deb-digest-missing", entry("SHA256:", "SHA1:")},
	{"deb-digest-odd", entry("SHA256: ", "SHA256: zz")},
	{"version-odd", entry("Version: 1", "Version: 1 && reboot")},
	{"version-missing", entry("Version: 1\n", "")},
	{"name-odd", entry("Package: evil", "Package: ../evil")},
	{"repeated-stanza-field", entry("Version: 1\n", "Version: 1\nversion: 2\n")},
	{"not-a-field", entry("Version: 1\n", "Version: 1\nno colon here\n")},
	{"provides-odd", entry("Version: 1\n", "Version: 1\nProvides: x (= 1, y\n")},
	{"two-files-of-one-version", resign(func(s *Suite) {
		s.Packages = append(s.Packages, Package{Name: "app", Version: "1.0-1", Content: []byte("evil")})
	})},
	{"dependency-missing", resign(func(s *Suite) { s.Packages = s.Packages[:1] })},
	{"package-missing", resign(func(s *Suite) { s.Packages = s.Packages[1:] })},
	{"conflict", resign(func(s *Suite) { s.Packages[0].Fields += "Conflicts: lib\n" })},
}
