package site

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// unfinished marks a folder that is being written; a power cut may leave one behind, the next Save removes it.
const unfinished = ".unfinished-"

// resultsDir is where results are on the stick, "" without one.
func (s *Site) resultsDir() string {
	if s.o.Stick == "" {
		return ""
	}
	return filepath.Join(s.o.Stick, Results)
}

// nextNumber is one more than the highest number that names an entry of one of the folders, 1 for the first.
func nextNumber(dirs ...string) int {
	highest := 0
	for _, dir := range dirs {
		entries, _ := os.ReadDir(dir) // not there yet: no numbers
		for _, e := range entries {
			if n, err := strconv.Atoi(e.Name()); err == nil && n > highest {
				highest = n
			}
		}
	}
	return highest + 1
}

// Save copies a folder of results to the stick as picolab/results/NNN, the next number, and returns that path. The stick is
// writable for that long only. It is all or nothing: the folder gets its name when everything is on the stick, and a stick
// that is full or gone gives an error that names the path and has no part of it. Names that FAT cannot have are changed.
func (s *Site) Save(dir string) (name string, err error) {
	s.saving.Lock()
	defer s.saving.Unlock()
	if s.o.Stick == "" {
		return "", errors.New("save results: there is no stick")
	}
	if err := s.o.remount(s.o.Stick, true); err != nil {
		return "", fmt.Errorf("make %s writable (is the stick write-protected?): %w", s.o.Stick, err)
	}
	defer func() {
		if rerr := s.o.remount(s.o.Stick, false); rerr != nil {
			err = errors.Join(err, fmt.Errorf("make %s read-only again: %w", s.o.Stick, rerr))
		}
	}()
	n := fmt.Sprintf("%03d", nextNumber(s.resultsDir()))
	if err := s.saveAs(dir, n); err != nil {
		return "", fmt.Errorf("save results as %s: %w", filepath.Join(s.resultsDir(), n), err)
	}
	return Results + "/" + n, nil
}

func (s *Site) saveAs(dir, name string) (err error) {
	results := s.resultsDir()
	if err := removeUnfinished(results); err != nil {
		return err
	}
	tmp := filepath.Join(results, unfinished+name)
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(tmp))
		}
	}()
	if err := copyResults(dir, tmp); err != nil {
		return err
	}
	if err := syncFS(results); err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Join(results, name)); err != nil {
		return err
	}
	return syncFS(results)
}

func removeUnfinished(results string) error {
	old, err := filepath.Glob(filepath.Join(results, unfinished+"*"))
	for _, dir := range old {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	return err
}

// copyResults copies files and folders. A socket or a link, which FAT cannot have, is left out, and so is a hidden file,
// such as hostctl's lock.
func copyResults(from, to string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	taken := map[string]bool{}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || !e.IsDir() && !e.Type().IsRegular() {
			continue
		}
		source, target := filepath.Join(from, e.Name()), filepath.Join(to, freeName(taken, e.Name()))
		if e.IsDir() {
			err = copyResults(source, target)
		} else {
			err = copyResult(source, target)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func copyResult(source, target string) error {
	in, err := os.Open(source)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(target, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err == nil {
		err = out.Sync() // FAT tells of a full or broken medium here at the latest
	}
	return errors.Join(err, out.Close())
}

// devices are names that DOS and Windows take for devices whatever follows the first dot.
var devices = " con prn aux nul com1 com2 com3 com4 com5 com6 com7 com8 com9 lpt1 lpt2 lpt3 lpt4 lpt5 lpt6 lpt7 lpt8 lpt9 "

// maxName is the longest name that is kept, bytes; VFAT takes 255, and freeName adds some.
const maxName = 240

// fatName makes a name one that VFAT can have and any computer can read: printable ASCII without "*/:<>?\|, no dot or
// blank at the end, none that stands for a device (Microsoft's FAT specification 1.03, long names).
func fatName(name string) string {
	name = strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' || strings.ContainsRune(`"*/:<>?\|`, c) {
			return '_'
		}
		return c
	}, name)
	name = name[:min(len(name), maxName)]
	if kept := strings.TrimRight(name, ". "); kept != name {
		name = kept + strings.Repeat("_", len(name)-len(kept))
	}
	stem, _, _ := strings.Cut(name, ".")
	if name == "" || strings.Contains(devices, " "+strings.ToLower(stem)+" ") {
		name = "_" + name
	}
	return name
}

// freeName is the FAT name of an entry whose folder has the names taken, which FAT compares without regard to case.
func freeName(taken map[string]bool, name string) string {
	name = fatName(name)
	ext := filepath.Ext(name)
	stem := strings.TrimSuffix(name, ext)
	for n := 2; taken[strings.ToLower(name)]; n++ {
		name = fmt.Sprintf("%s~%d%s", stem, n, ext)
	}
	taken[strings.ToLower(name)] = true
	return name
}

// syncFS writes everything of a path's file system out (syncfs(2)).
func syncFS(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return &fs.PathError{Op: "sync", Path: path, Err: err}
	}
	return nil
}

// remount makes a mount and its file system writable or read-only.
func remount(path string, writable bool) error {
	flags := uintptr(unix.MS_REMOUNT | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC)
	if !writable {
		flags |= unix.MS_RDONLY
	}
	return unix.Mount("", path, "", flags, "")
}
