package assemble

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"picolab/images/manifest"
	"picolab/initramfs/bb"
)

// stampFile is beside the manifest: what the image was built from, and how its files looked then. It is a cache: the
// image is complete without it.
const stampFile = ".stamp.json"

// stamp lets a build that would change nothing end after a few system calls per file.
type stamp struct {
	Program  string             `json:"program"`        // digest of the program that built it
	Inputs   string             `json:"inputs"`         // digest of everything the image depends on
	Manifest string             `json:"manifest"`       // SHA-256 of the manifest
	Files    map[string]written `json:"files"`          // by name
	Root     string             `json:"root,omitempty"` // glance over the root filesystem
}

// written is a file as this program left it.
type written struct {
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
	MTime  int64  `json:"mtime_ns"`
	Key    string `json:"key"` // names what it was made from
}

func (f written) file(name, role string) manifest.File {
	return manifest.File{Name: name, Role: role, Size: f.Size, SHA256: f.SHA256}
}

// inputs begins the stamp of a new image with what it depends on: recipe, lock, busybox, and this program itself, which
// decides the rest.
func (o *Options) inputs(box *bb.Busybox) (*stamp, error) {
	self, err := program()
	if err != nil {
		return nil, err
	}
	recipe, err := json.Marshal(o.Recipe)
	if err != nil {
		return nil, err
	}
	parts := fmt.Sprintf("%s\n%s\n%s\n%s\n%s\n", recipe, o.Lock.Digest(), box.SHA256, box.GoVersion, self)
	for _, m := range o.Carried {
		parts += m.ID + "\n"
	}
	return &stamp{Program: self, Inputs: digestOf(parts)}, nil
}

// digestOf is the SHA-256 of a text, in hex.
func digestOf(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// program is the digest of the running program's file.
var program = sync.OnceValues(func() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	data, err := os.ReadFile(self)
	if err != nil {
		return "", fmt.Errorf("read this program: %w", err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
})

// readStamp returns the stamp of the image in dir, an empty one when there is none that can be trusted: another program
// may pack the same files differently.
func readStamp(dir, program string) *stamp {
	s := new(stamp)
	data, err := os.ReadFile(filepath.Join(dir, stampFile))
	if err != nil || json.Unmarshal(data, s) != nil || s.Program != program {
		return new(stamp)
	}
	return s
}

// upToDate returns the manifest of the image in dir if it was built from inputs and nobody changed it since.
func (s *stamp) upToDate(dir, inputs string) *manifest.Manifest {
	if s.Inputs != inputs {
		return nil
	}
	data, err := os.ReadFile(filepath.Join(dir, manifest.Name))
	if sum := sha256.Sum256(data); err != nil || s.Manifest != hex.EncodeToString(sum[:]) {
		return nil
	}
	m, err := manifest.Read(dir)
	if err != nil {
		return nil
	}
	for _, f := range m.Files {
		if !s.has(dir, f.Name, s.Files[f.Name].Key) {
			return nil
		}
	}
	if m.RootFS != nil && s.Root != glance(m.Root()) {
		return nil
	}
	return m
}

// has says whether dir has the file name, made from key and not touched since.
func (s *stamp) has(dir, name, key string) bool {
	f, ok := s.Files[name]
	if !ok || f.Key != key {
		return false
	}
	st, err := os.Lstat(filepath.Join(dir, name))
	return err == nil && st.Mode() == 0o644 && st.Size() == f.Size && st.ModTime().UnixNano() == f.MTime
}

// add remembers a file just written.
func (s *stamp) add(dir string, f manifest.File, key string) error {
	st, err := os.Lstat(filepath.Join(dir, f.Name))
	if err != nil {
		return err
	}
	if s.Files == nil {
		s.Files = make(map[string]written)
	}
	s.Files[f.Name] = written{f.Size, f.SHA256, st.ModTime().UnixNano(), key}
	return nil
}

func (s *stamp) write(dir string, manifest []byte) error {
	sum := sha256.Sum256(manifest)
	s.Manifest = hex.EncodeToString(sum[:])
	data, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return err
	}
	return create(filepath.Join(dir, stampFile), writes(data))
}

// glance is a digest of how a file tree looks without reading it: path, mode, size, time of change, target. An edit of
// a file shows in it; "" is what a tree that cannot be read looks like.
func glance(root string) string {
	h := sha256.New()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%q %o", path[len(root):], info.Mode())
		switch {
		case info.Mode().IsRegular():
			fmt.Fprintf(h, " %d %d", info.Size(), info.ModTime().UnixNano())
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			fmt.Fprintf(h, " %q %v", target, err)
		}
		h.Write([]byte{'\n'})
		return nil
	})
	if err != nil {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}
