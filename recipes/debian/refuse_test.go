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
