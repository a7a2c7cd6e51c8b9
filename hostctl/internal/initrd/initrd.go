// Package initrd makes the initial RAM disk that a machine is started with: the segments of an image, and one more with
// what the agent must know before anybody can talk to it.
package initrd

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"picolab/hostctl/internal/inflate"
	"picolab/hostctl/internal/newc"
)

// Boot is etc/picolab/boot.json in the guest.
type Boot struct {
	Token    string `json:"token"` // 32 hex digits; the agent answers nobody without it
	Image    string `json:"image"` // what Hello reports
	Hostname string `json:"hostname"`
	Port     uint32 `json:"agent_port"`     // vsock
	Swap     string `json:"swap,omitempty"` // block device to resume from, or to swap to when there is nothing to resume
}

// NewToken returns 128 random bits in hex.
func NewToken() string {
	var b [16]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

// Write writes an image's segments, unpacked if asked, and a last one with b to path. Only the owner may read it: it
// holds the token.
func Write(path string, segments []string, unpack bool, b Boot) error {
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write initrd: %w", err)
	}
	defer f.Close()
	for _, segment := range segments {
		if err := appendSegment(f, segment, unpack); err != nil {
			return fmt.Errorf("write initrd: %w", err)
		}
	}
	data, err := json.Marshal(b)
	if err != nil {
		return fmt.Errorf("encode boot.json: %w", err)
	}
	err = newc.Write(f, []newc.File{{Path: "etc/picolab/boot.json", Mode: 0o600, Data: append(data, '\n')}})
	if err != nil {
		return fmt.Errorf("write initrd: %w", err)
	}
	return os.Rename(path+".new", path) // a running QEMU keeps the file it has mapped
}

// appendSegment copies a segment and fills up to a multiple of four bytes: the kernel takes an uncompressed archive only
// from there (init/initramfs.c, unpack_to_rootfs).
func appendSegment(w io.Writer, path string, unpack bool) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var n int64
	if unpack {
		n, err = inflate.Segment(w, f)
	} else {
		n, err = io.Copy(w, f)
	}
	if err != nil {
		return err
	}
	_, err = w.Write(make([]byte, -n&3))
	return err
}
