package disk

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"picolab/images/manifest"
)

// Folder is where the ESP has the image's files.
const Folder = "/picolab"

// A file of the ESP: its content is data, or the file at source, whose SHA-256 must be sum.
type file struct {
	path   string
	size   int64
	data   []byte
	source string
	sum    string // hex
}

// espFiles lists what goes on the ESP, in the order it is written. Names that firmware looks for: UEFI 2.10 section
// 3.5.1.1 has BOOTX64.EFI; shim looks for its successor and its key manager beside itself; the GRUB that Debian signed
// reads /EFI/debian/grub.cfg.
func espFiles(m *manifest.Manifest, l *loaders) []file {
	files := []file{
		content("/EFI/BOOT/BOOTX64.EFI", l.shim),
		content("/EFI/BOOT/grubx64.efi", l.grub),
		content("/EFI/BOOT/mmx64.efi", l.keys),
		content("/EFI/debian/grub.cfg", menu(m)),
		content(idFile(m), []byte(m.ID+"\n")),
		content(Folder+"/"+manifest.Name, m.Encode()),
	}
	for _, f := range m.Files {
		switch f.Role {
		case manifest.RoleKernel, manifest.RoleSegment, manifest.RoleRoot, manifest.RoleSBOM:
			files = append(files, file{path: onDisk(f.Name), size: f.Size, source: filepath.Join(m.Dir(), f.Name), sum: f.SHA256})
		}
	}
	return files
}

func content(path string, data []byte) file {
	return file{path: path, size: int64(len(data)), data: data}
}

func onDisk(name string) string { return Folder + "/" + name }

// idFile is the path by which GRUB finds the disk it is on among others: it is named after the image.
func idFile(m *manifest.Manifest) string { return Folder + "/" + shortID(m) + ".id" }

// shortID is what the volume is told from others by, to GRUB and to an appliance that looks for its root file system.
func shortID(m *manifest.Manifest) string { return m.ID[:16] }

func total(files []file) (n int64) {
	for _, f := range files {
		n += f.size
	}
	return n
}

// copyTo writes the content to w in as few writes as buf allows, and checks it.
func (f *file) copyTo(w io.Writer, buf []byte) error {
	in, err := f.open()
	if err != nil {
		return err
	}
	defer in.Close()
	h := sha256.New()
	n, err := copyBlocks(io.MultiWriter(w, h), in, buf)
	if err != nil {
		return err
	}
	if sum := hex.EncodeToString(h.Sum(nil)); f.source != "" && (n != f.size || sum != f.sum) {
		return &manifest.MismatchError{Path: f.source, Got: fmt.Sprintf("%d bytes, %.12s", n, sum), Expected: fmt.Sprintf("%d bytes, %.12s", f.size, f.sum)}
	}
	return nil
}

func (f *file) open() (io.ReadCloser, error) {
	if f.source == "" {
		return io.NopCloser(bytes.NewReader(f.data)), nil
	}
	return os.Open(f.source)
}

// copyBlocks copies in whole buffers: the FAT is written again at every write.
func copyBlocks(w io.Writer, r io.Reader, buf []byte) (n int64, err error) {
	for {
		got, err := io.ReadFull(r, buf)
		if got > 0 {
			if _, err := w.Write(buf[:got]); err != nil {
				return n, err
			}
			n += int64(got)
		}
		switch err {
		case nil:
		case io.EOF, io.ErrUnexpectedEOF:
			return n, nil
		default:
			return n, err
		}
	}
}
