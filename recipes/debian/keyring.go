package debian

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/ProtonMail/go-crypto/openpgp"
)

// archiveKeyring is the keyring of Debian's package debian-archive-keyring, for machines that are not Debian.
//
//go:embed archive-keyring.gpg
var archiveKeyring []byte

// machineKeyring is where that package puts it.
const machineKeyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

const maxKeyring = 4 << 20

// A Keyring is the set of keys whose signatures are believed.
type Keyring struct {
	entities openpgp.EntityList
	digest   string
	origin   string
}

// OpenKeyring reads the OpenPGP keyring of a path, binary or armored. With an empty path it takes this machine's
// debian-archive-keyring, and where there is none the one in this program.
func OpenKeyring(path string) (*Keyring, error) {
	if path != "" {
		return readKeyringFile(path)
	}
	k, err := readKeyringFile(machineKeyring)
	if errors.Is(err, fs.ErrNotExist) {
		return ReadKeyring("embedded debian-archive-keyring", archiveKeyring)
	}
	return k, err
}

func readKeyringFile(path string) (*Keyring, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open keyring: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxKeyring {
		return nil, fmt.Errorf("open keyring %s: not a file of at most %d bytes", path, maxKeyring)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("open keyring: %w", err)
	}
	return ReadKeyring(path, data)
}

// ReadKeyring reads a keyring; origin is for messages.
func ReadKeyring(origin string, data []byte) (*Keyring, error) {
	read := openpgp.ReadKeyRing
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("-----BEGIN PGP")) {
		read = openpgp.ReadArmoredKeyRing
	}
	entities, err := read(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("read keyring %s: %w", origin, err)
	}
	if len(entities) == 0 {
		return nil, fmt.Errorf("read keyring %s: it has no keys", origin)
	}
	sum := sha256.Sum256(data)
	return &Keyring{entities: entities, digest: hex.EncodeToString(sum[:]), origin: origin}, nil
}

// SHA256 returns the digest of the keyring's file, in hex.
func (k *Keyring) SHA256() string { return k.digest }

// Origin returns where the keyring came from.
func (k *Keyring) Origin() string { return k.origin }
