// Package inflate unpacks on the host what a guest would otherwise unpack for itself while it boots: the kernel inside a
// bzImage and zstd segments of an initramfs. Under TCG the guest takes more than ten times as long for it.
//
// The kernel comes out as the ELF file that was packed, which QEMU enters through its PVH note (Documentation/arch/x86/boot.rst
// for the bzImage header; Xen's public/arch-x86/hvm/start_info.h for the entry). It is the same kernel but for one thing: it
// runs where it was linked, because the unpacker is also what randomizes the address.
package inflate

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
)

// ErrUnsupported is a kernel that has to unpack itself: no bzImage, packed otherwise than with zstd, or without a PVH entry.
var ErrUnsupported = errors.New("unsupported kernel image")

// Limits in bytes: Debian's kernel is 58 MB unpacked, an image's segments are 35 MB.
const (
	maxKernel  = 512 << 20
	maxSegment = 1 << 30
)

// Offsets in the header of a bzImage.
const (
	setupSects    = 0x1f1 // u8: sectors of real-mode code after the first; 0 means 4
	headerMagic   = 0x202 // "HdrS"
	headerVersion = 0x206 // u16
	payloadOffset = 0x248 // u32, from the protected-mode code; since version 2.08
	payloadLength = 0x24c // u32; the last 4 bytes are the unpacked length
	headerEnd     = 0x250
)

var zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}

// Kernel returns the ELF kernel inside a bzImage.
func Kernel(image []byte) ([]byte, error) {
	payload, err := payload(image)
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(payload, zstdMagic) {
		return nil, fmt.Errorf("%w: it is not packed with zstd", ErrUnsupported)
	}
	size := binary.LittleEndian.Uint32(payload[len(payload)-4:])
	if size > maxKernel {
		return nil, fmt.Errorf("%w: %d bytes unpacked, limit %d", ErrUnsupported, size, maxKernel)
	}
	r, err := zstd.NewReader(bytes.NewReader(payload[:len(payload)-4]), zstd.WithDecoderMaxWindow(maxKernel))
	if err != nil {
		return nil, fmt.Errorf("unpack kernel: %w", err)
	}
	defer r.Close()
	kernel := make([]byte, size)
	if _, err := io.ReadFull(r, kernel); err != nil {
		return nil, fmt.Errorf("unpack kernel: %w", err)
	}
	return kernel, checkPVH(kernel)
}

func payload(image []byte) ([]byte, error) {
	if len(image) < headerEnd || string(image[headerMagic:headerMagic+4]) != "HdrS" {
		return nil, fmt.Errorf("%w: no bzImage", ErrUnsupported)
	}
	le := binary.LittleEndian
	if v := le.Uint16(image[headerVersion:]); v < 0x208 {
		return nil, fmt.Errorf("%w: boot protocol %#x names no payload", ErrUnsupported, v)
	}
	sectors := int(image[setupSects])
	if sectors == 0 {
		sectors = 4
	}
	// Both numbers are below 2^32 and int has 64 bits: the sums cannot overflow.
	start := (sectors+1)*512 + int(le.Uint32(image[payloadOffset:]))
	end := start + int(le.Uint32(image[payloadLength:]))
	if end > len(image) || end-start < len(zstdMagic)+4 {
		return nil, fmt.Errorf("%w: payload [%d, %d) of %d bytes", ErrUnsupported, start, end, len(image))
	}
	return image[start:end], nil
}

// checkPVH looks for the ELF note XEN_ELFNOTE_PHYS32_ENTRY, without which QEMU refuses the file.
func checkPVH(kernel []byte) error {
	f, err := elf.NewFile(bytes.NewReader(kernel))
	if err != nil {
		return fmt.Errorf("%w: the payload is no ELF file: %w", ErrUnsupported, err)
	}
	const phys32Entry = 18
	want := binary.LittleEndian.AppendUint32(nil, phys32Entry)
	want = append(want, "Xen\x00"...)
	for _, p := range f.Progs {
		if p.Type != elf.PT_NOTE || p.Filesz > 1<<20 {
			continue
		}
		notes := make([]byte, p.Filesz)
		if _, err := p.ReadAt(notes, 0); err == nil && bytes.Contains(notes, want) {
			return nil
		}
	}
	return fmt.Errorf("%w: no PVH entry", ErrUnsupported)
}

// KernelFile returns the path of the unpacked kernel of the bzImage at path, whose SHA-256 in hex is sum. It is kept in
// dir under that name, so that each kernel is unpacked once.
func KernelFile(dir, path, sum string) (string, error) {
	name := filepath.Join(dir, sum+".elf")
	if _, err := os.Stat(name); err == nil {
		return name, nil
	}
	image, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	if got := sha256.Sum256(image); hex.EncodeToString(got[:]) != sum {
		return "", fmt.Errorf("unpack kernel %s: its SHA-256 is %x, the manifest says %s", path, got, sum)
	}
	kernel, err := Kernel(image)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	return name, publish(name, kernel)
}

// publish writes a file that is complete or absent under its name.
func publish(name string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// Segment copies a segment to w, unpacked if it is packed with zstd, and returns the number of bytes written.
func Segment(w io.Writer, segment io.ReadSeeker) (int64, error) {
	var magic [4]byte
	_, err := io.ReadFull(segment, magic[:])
	if err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
		_, err = segment.Seek(0, io.SeekStart)
	}
	if err != nil {
		return 0, err
	}
	if !bytes.Equal(magic[:], zstdMagic) {
		return io.Copy(w, segment)
	}
	// A segment is padded with NULs, fewer than a frame's magic number among them: with that many more, what follows the
	// frame always ends the same way.
	r, err := zstd.NewReader(io.MultiReader(segment, bytes.NewReader(make([]byte, len(zstdMagic)))))
	if err != nil {
		return 0, err
	}
	defer r.Close()
	n, err := io.Copy(w, io.LimitReader(r, maxSegment+1))
	if errors.Is(err, zstd.ErrMagicMismatch) && n > 0 {
		err = nil
	}
	if err == nil && n > maxSegment {
		err = fmt.Errorf("segment unpacks to more than %d bytes", maxSegment)
	}
	return n, err
}
