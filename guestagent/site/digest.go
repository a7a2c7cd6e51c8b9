package site

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// litter is what computers leave on sticks without being asked.
var litter = []string{"system volume information", "$recycle.bin", "thumbs.db", "desktop.ini", ".ds_store", ".trashes",
	".spotlight-v100", ".fseventsd", ".trash-1000"}

// ignored says whether a file was put there by an operating system, not by a person.
func ignored(name string) bool {
	return strings.HasPrefix(name, "._") || slices.Contains(litter, strings.ToLower(name))
}

// regular lists the files below dir that count, by path relative to it with slashes, sorted.
func regular(dir string) ([]string, error) {
	var names []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path != dir && ignored(e.Name()) {
			if e.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		if e.Type().IsRegular() {
			name, err := filepath.Rel(dir, path)
			if err != nil {
				return err
			}
			names = append(names, filepath.ToSlash(name))
		}
		return nil
	})
	slices.Sort(names)
	return names, err
}

// Digest is the SHA-256 of a folder's files, in hex: of each, in the order of their paths, the path, its size in bytes
// and its content. Times, modes and empty folders do not count: a FAT volume keeps them badly. It is "" for a folder
// without files.
func Digest(dir string) (string, error) {
	names, err := regular(dir)
	if err != nil || len(names) == 0 {
		return "", err
	}
	h := sha256.New()
	for _, name := range names {
		if err := hashFile(h, dir, name); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func hashFile(h io.Writer, dir, name string) error {
	f, err := os.Open(filepath.Join(dir, filepath.FromSlash(name)))
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	fmt.Fprintf(h, "%s\x00%d\x00", name, info.Size())
	n, err := io.Copy(h, f)
	if err == nil && n != info.Size() {
		err = fmt.Errorf("%s: %d bytes read of %d", f.Name(), n, info.Size())
	}
	return err
}
