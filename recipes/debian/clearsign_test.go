package debian

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"picolab/recipes/debian/archivetest"
)

func keyring(t testing.TB, path string) *Keyring {
	t.Helper()
	k, err := OpenKeyring(path)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestVerify(t *testing.T) {
	key, other := archivetest.NewKey(t), archivetest.NewKey(t)
	ring := keyring(t, archivetest.Keyring(t, key))
	text := "Origin: Test\n- dashed\n\nlast: line\n"
	for name, signed := range map[string][]byte{
		"one": archivetest.Sign(t, text, nil, key), "unknown first": archivetest.Sign(t, text, nil, other, key), "unknown last": archivetest.Sign(t, text, nil, key, other),
	} {
		t.Run(name, func(t *testing.T) {
			body, err := ring.Verify(signed, time.Now())
			if err != nil || string(body) != text+"\n" && string(body) != text {
				t.Errorf("got %q, %v", body, err)
			}
		})
	}
}

// TestVerifyAgainstGpgv: what we accept, GnuPG accepts. The reverse does not hold: we are stricter by intention.
func TestVerifyAgainstGpgv(t *testing.T) {
	gpgv, err := exec.LookPath("gpgv")
	if err != nil {
		t.Skip("gpgv(1) not installed")
	}
	ours, theirs := 0, 0
	judge := func(t *testing.T, scene *archivetest.Scene) (accepted, judged bool) {
		text := scene.Mirror.Get(archivetest.InRelease)
		file := filepath.Join(t.TempDir(), "InRelease")
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(gpgv, "--homedir", t.TempDir(), "--keyring", scene.Keyring, file)
		judged = cmd.Run() == nil
		_, err := keyring(t, scene.Keyring).Verify(text, time.Now())
		if err == nil {
			ours++
		}
		if judged {
			theirs++
		}
		return err == nil, judged
	}
	if accepted, judged := judge(t, archivetest.NewScene(t)); !accepted || !judged {
		t.Fatalf("the good archive: accepted %v, by gpgv %v", accepted, judged)
	}
	for _, attack := range archivetest.Attacks() {
		t.Run(attack.Name, func(t *testing.T) {
			scene := archivetest.NewScene(t)
			attack.Apply(t, scene)
			if accepted, judged := judge(t, scene); accepted && !judged {
				t.Error("accepted, but gpgv refuses it")
			}
		})
	}
	t.Logf("signatures accepted: ours %d, gpgv %d", ours, theirs)
}

// TestMutations changes a signed index at random. A mutation counts as accepted when another text than the signed one
// comes out; OpenPGP itself leaves room for changes that sign nothing, such as the bit count of a number. The number of
// mutations is 10,000, or PICOLAB_MUTATIONS.
func TestMutations(t *testing.T) {
	count := 10_000
	if n, err := strconv.Atoi(os.Getenv("PICOLAB_MUTATIONS")); err == nil {
		count = n
	}
	key := archivetest.NewKey(t)
	ring := keyring(t, archivetest.Keyring(t, key))
	suite := archivetest.Suite{Name: "trixie", Date: time.Now(), Packages: []archivetest.Package{{Name: "app", Version: "1"}}}
	good := archivetest.Sign(t, suite.Release(), nil, key)
	body, err := ring.Verify(good, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	accepted, harmless := 0, 0
	for range count {
		bad := mutate(rnd, good)
		if bytes.Equal(bad, good) {
			continue
		}
		got, err := ring.Verify(bad, time.Now())
		switch {
		case err == nil && !bytes.Equal(got, body):
			accepted++
			t.Errorf("accepted:\n%s", bad)
		case err == nil:
			harmless++
		}
	}
	t.Logf("%d mutations: %d accepted, %d changed nothing that is signed", count, accepted, harmless)
}

// mutate changes one to three things: bits, bytes, lines, the length.
func mutate(rnd *rand.Rand, good []byte) []byte {
	b := bytes.Clone(good)
	for range 1 + rnd.IntN(3) {
		if len(b) == 0 {
			return b
		}
		at := rnd.IntN(len(b))
		switch rnd.IntN(8) {
		case 0:
			b[at] ^= 1 << rnd.IntN(8)
		case 1:
			b[at] = byte(rnd.IntN(256))
		case 2:
			b = append(b[:at], b[at+1:]...)
		case 3:
			b = append(b[:at], append([]byte{byte(rnd.IntN(256))}, b[at:]...)...)
		case 4:
			b = b[:at+1]
		case 5:
			b = append(b[:at], append(bytes.Clone(good[rnd.IntN(len(good)):]), b[at:]...)...)
		default:
			b = mutateLines(rnd, b)
		}
	}
	return b
}

// mutateLines repeats, moves, drops or pads a line.
func mutateLines(rnd *rand.Rand, b []byte) []byte {
	lines := strings.SplitAfter(string(b), "\n")
	i, j := rnd.IntN(len(lines)), rnd.IntN(len(lines))
	switch rnd.IntN(4) {
	case 0:
		lines[i] += lines[i]
	case 1:
		lines[i], lines[j] = lines[j], lines[i]
	case 2:
		lines[i] = ""
	case 3:
		lines[i] = []string{" ", "\t", "- ", "\r\n", "\n", "-----BEGIN PGP SIGNED MESSAGE-----\n", "Suite: evil\n"}[rnd.IntN(7)] + lines[i]
	}
	return []byte(strings.Join(lines, ""))
}

// FuzzVerify: whatever is accepted must carry the one text that the key has signed.
func FuzzVerify(f *testing.F) {
	key := archivetest.NewKey(f)
	ring := keyring(f, archivetest.Keyring(f, key))
	suite := archivetest.Suite{Name: "trixie", Date: time.Now()}
	good := archivetest.Sign(f, suite.Release(), nil, key)
	body, err := ring.Verify(good, time.Now())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(append(bytes.Clone(good), good...))
	f.Add(bytes.Replace(good, []byte("Hash: SHA256"), []byte("Hash: SHA512"), 1))
	f.Add([]byte("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nx\n-----BEGIN PGP SIGNATURE-----\n\n=AAAA\n-----END PGP SIGNATURE-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if got, err := ring.Verify(text, time.Now()); err == nil && !bytes.Equal(got, body) {
			t.Errorf("accepted %q", got)
		}
	})
}

// FuzzParseRelease: no text that an archive could sign makes the parser fail otherwise than by an error.
func FuzzParseRelease(f *testing.F) {
	suite := archivetest.Suite{Name: "trixie", Date: time.Now(), ValidUntil: time.Now()}
	f.Add([]byte(suite.Release()))
	f.Add([]byte("Suite: x\nDate: Sat, 12 Sep 2026 07:55:41 UTC\nComponents: main\nArchitectures: amd64\nSHA256:\n 00 1 x\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if r, err := ParseRelease(text); err == nil && (len(r.Files) == 0 || r.Date.IsZero()) {
			t.Errorf("accepted without files or date: %+v", r)
		}
	})
}

// FuzzParsePackages: what is accepted has nothing in it that could leave a folder or a URL.
func FuzzParsePackages(f *testing.F) {
	f.Add([]byte(archivetest.Package{Name: "app", Version: "1:1.0-1", Fields: "Depends: lib (>= 1)\nSource: a (1)\n"}.Stanza()))
	f.Add([]byte("Package: a\nArchitecture: all\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		list, err := ParsePackages(text, "amd64")
		if err != nil {
			return
		}
		for _, p := range list {
			if strings.Contains("/"+p.Filename+"/", "/../") || strings.ContainsAny(p.Filename, "\\?#% ") || p.Size <= 0 || !packageShape.MatchString(p.Name) {
				t.Errorf("accepted %+v", p)
			}
		}
	})
}

func TestOpenKeyring(t *testing.T) {
	if k := keyring(t, ""); len(k.entities) < 3 {
		t.Errorf("the default keyring has %d keys", len(k.entities))
	}
	k, err := ReadKeyring("embedded", archiveKeyring)
	if err != nil || len(k.entities) < 3 {
		t.Errorf("the embedded keyring: %v", err)
	}
	for name, content := range map[string]string{"empty": "", "text": "not a keyring", "armor": "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n-----END PGP PUBLIC KEY BLOCK-----\n"} {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenKeyring(file); err == nil {
			t.Errorf("%s: read as a keyring", name)
		}
	}
	if _, err := OpenKeyring(filepath.Join(t.TempDir(), "absent")); err == nil {
		t.Error("an absent keyring was opened")
	}
}

func TestUnpack(t *testing.T) {
	text := bytes.Repeat([]byte("Package: a\n"), 100_000)
	sum := "80b3e1ccad4b1d6ecfa8db1d0ce9d67a5b1ed4a5a43f4ba9b4c0a3ad66df6ef0"
	packed := archivetest.Compress(text)
	for name, want := range map[string]IndexFile{"digest": {int64(len(text)), sum}, "long": {10, sum}, "short": {int64(len(text)) + 1, sum}} {
		if _, err := Unpack(bytes.NewReader(packed), want); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := Unpack(strings.NewReader("not xz at all"), IndexFile{10, sum}); err == nil {
		t.Error("something else than xz was unpacked")
	}
}
