package site

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// recipesFolder is where the folder's recipes can be found in the appliance.
const recipesFolder = "etc/picolab/recipes"

// copyFiles copies files/ over the root.
func (s *Site) copyFiles() error { return s.copyTree("files", "") }

func (s *Site) copyRecipes() error { return s.copyTree("recipes", recipesFolder) }

// copyTree copies a tree of the folder to a place below the root. What cannot be copied does not keep the rest back.
func (s *Site) copyTree(from, to string) error {
	if s.folder == "" {
		return nil
	}
	source := filepath.Join(s.folder, from)
	names, err := regular(source)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for _, name := range names {
		errs = append(errs, copyFile(filepath.Join(source, name), filepath.Join(s.path(to), name)))
	}
	return errors.Join(errs...)
}

// copyFile replaces target in one step. A FAT volume keeps no modes: what looks like a program becomes one.
func copyFile(source, target string) (err error) {
	in, err := os.Open(source)
	if err != nil {
		return err
	}
	defer in.Close()
	head := make([]byte, 4)
	n, err := io.ReadFull(in, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	tmp := target + ".new"
	out, err := os.OpenFile(tmp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(tmp)
		}
	}()
	_, err = io.Copy(out, io.MultiReader(bytes.NewReader(head[:n]), in))
	if err = errors.Join(err, out.Chmod(modeOf(head[:n])), out.Close()); err != nil {
		return fmt.Errorf("copy %s: %w", source, err)
	}
	return os.Rename(tmp, target)
}

// modeOf makes scripts and ELF programs executable.
func modeOf(head []byte) fs.FileMode {
	if bytes.HasPrefix(head, []byte("#!")) || bytes.Equal(head, []byte("\x7fELF")) {
		return 0o755
	}
	return 0o644
}
