package site

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// keysFile is where sshd looks, below the root.
const keysFile = "root/.ssh/authorized_keys"

// keyTypes are those that OpenSSH 10 accepts (sshd(8), AUTHORIZED_KEYS FILE FORMAT).
var keyTypes = []string{"ssh-ed25519", "sk-ssh-ed25519@openssh.com", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384",
	"ecdsa-sha2-nistp521", "sk-ecdsa-sha2-nistp256@openssh.com"}

// installKeys puts the good lines of authorized_keys where sshd looks, instead of what the image has there.
func (s *Site) installKeys() error {
	if s.folder == "" {
		return nil
	}
	return load(s.folder, "authorized_keys", func(data []byte) error {
		keys, err := ParseKeys(data)
		if len(keys) == 0 {
			return errors.Join(err, errors.New("authorized_keys has no usable key: nobody may log in by SSH"))
		}
		if werr := s.write(keysFile, 0o600, []byte(strings.Join(keys, "\n")+"\n")); werr != nil {
			return errors.Join(err, werr)
		}
		return errors.Join(err, os.Chmod(filepath.Dir(s.path(keysFile)), 0o700))
	})
}

// ParseKeys returns the lines of an authorized_keys file that hold a key, and an error for each that should and does not.
func ParseKeys(data []byte) ([]string, error) {
	if err := checkText("authorized_keys", data); err != nil {
		return nil, err
	}
	var keys []string
	var errs []error
	for i, line := range strings.Split(string(data), "\n") {
		trimmed := strings.TrimSpace(line)
		if trimmed == "" || trimmed[0] == '#' {
			continue
		}
		if at, err := checkKey(trimmed); err != nil {
			column := strings.Index(line, trimmed) + at + 1
			errs = append(errs, &TextError{"authorized_keys", i + 1, column, err.Error()})
			continue
		}
		keys = append(keys, trimmed)
	}
	return keys, errors.Join(errs...)
}

// checkKey says at which byte of a line its key is wrong: [options] type base64 [comment].
func checkKey(line string) (at int, err error) {
	fields, places := words(line)
	i := slices.IndexFunc(fields, func(f string) bool { return slices.Contains(keyTypes, f) })
	switch {
	case strings.HasPrefix(line, "-----BEGIN"):
		return 0, errors.New("this is a private key; give the line of the file that ends with .pub")
	case i < 0 || i > 1:
		return 0, fmt.Errorf("no key type such as %s", keyTypes[0])
	case i+1 >= len(fields):
		return len(line), fmt.Errorf("the key is missing after %s", fields[i])
	}
	blob, err := base64.StdEncoding.DecodeString(fields[i+1])
	if err != nil || len(blob) < 4 {
		return places[i+1], errors.New("the key is damaged: not base64")
	}
	// RFC 4253 section 6.6: the key names its own type, as a string.
	if n := binary.BigEndian.Uint32(blob); n > uint32(len(blob)-4) || string(blob[4:4+n]) != fields[i] {
		return places[i+1], fmt.Errorf("the key is damaged: it is no %s key", fields[i])
	}
	return 0, nil
}

// words splits a line at blanks outside of double quotes, and tells where each word begins.
func words(line string) (fields []string, places []int) {
	quoted, begin := false, -1
	for i, c := range line + " " {
		switch {
		case c == '"' && (i == 0 || line[i-1] != '\\'):
			quoted = !quoted
		case (c == ' ' || c == '\t') && !quoted:
			if begin >= 0 {
				fields, places = append(fields, line[begin:i]), append(places, begin)
			}
			begin = -1
			continue
		}
		if begin < 0 {
			begin = i
		}
	}
	return fields, places
}
