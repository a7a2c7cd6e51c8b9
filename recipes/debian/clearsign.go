package debian

import (
	"bytes"
	"crypto"
	_ "crypto/sha256" // the two hash families that signatures may use
	_ "crypto/sha512"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// Bounds of a clear-signed text. Debian's InRelease has about 150 kB and two or three signatures.
const (
	maxInRelease  = 8 << 20
	maxSignatures = 16
)

// The lines that frame a clear-signed text, RFC 9580 section 7.
const (
	beginMessage   = "-----BEGIN PGP SIGNED MESSAGE-----"
	beginSignature = "-----BEGIN PGP SIGNATURE-----"
	endSignature   = "-----END PGP SIGNATURE-----"
)

// hashes are those that a signature may use. SHA-1 and MD5 are broken.
var hashes = map[string]crypto.Hash{"SHA256": crypto.SHA256, "SHA384": crypto.SHA384, "SHA512": crypto.SHA512}

// Verify checks a clear-signed text and returns what is signed in it, nothing else. The text must be exactly one signed
// message from its first byte to its last, in the plain form that archives use: no carriage returns, no blanks at line
// ends, no other headers than Hash. At least one signature must be good, by a key of the ring that is valid at the time.
func (k *Keyring) Verify(text []byte, now time.Time) ([]byte, error) {
	if err := checkFrame(text); err != nil {
		return nil, fmt.Errorf("verify signed text: %w", err)
	}
	block, rest := clearsign.Decode(text)
	if block == nil || len(rest) > 0 {
		return nil, errors.New("verify signed text: not one well-formed clear-signed message")
	}
	allowed, err := hashHeaders(block.Headers["Hash"])
	if err != nil {
		return nil, fmt.Errorf("verify signed text: %w", err)
	}
	if err := k.anyGood(block.Bytes, block.ArmoredSignature, allowed, now); err != nil {
		return nil, fmt.Errorf("verify signed text: %w (keyring %s)", err, k.origin)
	}
	return append(block.Plaintext, '\n'), nil
}

// checkFrame refuses all variants of the format that this package does not need, before any parser sees the text: each
// of them has been a way to smuggle unsigned lines past a verifier (apt's and GnuPG's histories).
func checkFrame(text []byte) error {
	switch {
	case len(text) > maxInRelease:
		return fmt.Errorf("%d bytes are too many", len(text))
	case !utf8.Valid(text):
		return errors.New("text is not UTF-8")
	case !bytes.HasPrefix(text, []byte(beginMessage+"\n")):
		return errors.New("it does not begin with a signed message: unsigned, or something is before the signature")
	case !bytes.HasSuffix(text, []byte("\n"+endSignature+"\n")):
		return errors.New("something is after the signature, or it is cut off")
	}
	frames := map[string]int{}
	for n, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		if hasControl(line) || strings.TrimRight(line, " \t") != line {
			return fmt.Errorf("line %d: control character, or blanks at its end", n+1)
		}
		if strings.HasPrefix(line, "-----") {
			frames[line]++
		}
	}
	if len(frames) != 3 || frames[beginMessage] != 1 || frames[beginSignature] != 1 || frames[endSignature] != 1 {
		return errors.New("not exactly one signed message with one signature block")
	}
	return nil
}

func hashHeaders(names []string) ([]crypto.Hash, error) {
	var out []crypto.Hash
	for _, name := range names {
		h, ok := hashes[name]
		if !ok {
			return nil, fmt.Errorf("hash %.20q is too weak or unknown", name)
		}
		out = append(out, h)
	}
	if len(out) == 0 {
		return nil, errors.New("no Hash header, which would mean MD5")
	}
	return out, nil
}

// anyGood looks at each signature: an archive signs with its old and its new key, and we may know either.
func (k *Keyring) anyGood(signed []byte, block *armor.Block, allowed []crypto.Hash, now time.Time) error {
	signatures, err := readSignatures(block.Body)
	if err != nil {
		return err
	}
	config := &packet.Config{Time: func() time.Time { return now }, MinRSABits: 2048}
	var errs []error
	for _, s := range signatures {
		_, _, err := openpgp.VerifyDetachedSignatureAndHash(k.entities, bytes.NewReader(signed), bytes.NewReader(s), allowed, config)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return fmt.Errorf("no good signature by a known key: %w", errors.Join(errs...))
}

// readSignatures splits an armored block into its signature packets; any other packet is an error.
func readSignatures(r io.Reader) ([][]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(r, maxInRelease))
	if err != nil {
		return nil, fmt.Errorf("signature armor: %w", err)
	}
	in := bytes.NewReader(raw)
	packets := packet.NewOpaqueReader(in)
	var out [][]byte
	for {
		p, err := packets.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("signature packet: %w", err)
		}
		if p.Tag != packetSignature || len(out) == maxSignatures {
			return nil, errors.New("signature block: too many packets, or one that is no signature")
		}
		var b bytes.Buffer
		if err := p.Serialize(&b); err != nil {
			return nil, fmt.Errorf("signature packet: %w", err)
		}
		out = append(out, b.Bytes())
	}
	if len(out) == 0 {
		return nil, errors.New("signature block: it is empty")
	}
	return out, nil
}

// packetSignature is the packet type of a signature, RFC 9580 section 5.
const packetSignature = 2
