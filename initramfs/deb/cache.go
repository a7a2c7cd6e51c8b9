package deb

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"picolab/initramfs/tree"
)

// indexVersion is part of every index's name: a release that unpacks
// differently must change it, so as not to read what an older one left.
const indexVersion = "2"

// Cache remembers unpacked packages by their SHA-256, so that a second build
// reads an index instead of unpacking. Several processes may share one.
type Cache struct {
	dir   string
	blobs *Blobs
}

// OpenCache makes or opens the folder dir.
func OpenCache(dir string) (*Cache, error) {
	blobs, err := OpenBlobs(filepath.Join(dir, "blobs"))
	if err != nil {
		return nil, err
	}
	index := filepath.Join(dir, "index")
	if err := os.MkdirAll(index, 0o755); err != nil {
		return nil, fmt.Errorf("open cache: %w", err)
	}
	return &Cache{index, blobs}, nil
}

// Blobs returns the cache's contents.
func (c *Cache) Blobs() *Blobs { return c.blobs }

// Unpack does what the function Unpack does with the package r, whose SHA-256
// (64 hex digits) the caller has checked. What an earlier call left is used
// when it is complete; r is then not read.
func (c *Cache) Unpack(ctx context.Context, r io.ReaderAt, size int64, digest, name string, into *tree.Tree, opt Options) (Control, error) {
	own, control, err := c.load(digest, opt)
	if err != nil {
		own, control, err = unpack(ctx, r, size, name, c.blobs, opt)
		if err == nil {
			err = c.save(digest, opt, own, control)
		}
	}
	if err == nil {
		err = into.Merge(own)
	}
	if err != nil {
		return Control{}, fmt.Errorf("unpack %s: %w", name, err)
	}
	return control, nil
}

// errNoIndex says that the options cannot be told apart by name.
var errNoIndex = errors.New("unnamed choice of files")

// load reads an index. Any error means that the package must be unpacked.
func (c *Cache) load(digest string, opt Options) (*tree.Tree, Control, error) {
	if !cacheable(digest, opt) {
		return nil, Control{}, errNoIndex
	}
	data, err := os.ReadFile(c.indexPath(digest, opt))
	if err != nil {
		return nil, Control{}, err
	}
	sum, body, _ := bytes.Cut(data, []byte("\n"))
	if string(sum) != hexSum(body) {
		return nil, Control{}, errors.New("index is damaged")
	}
	var control Control
	head, rest, _ := bytes.Cut(body, []byte("\n"))
	if err := json.Unmarshal(head, &control); err != nil {
		return nil, Control{}, err
	}
	t, err := tree.ReadIndex(bytes.NewReader(rest), c.blobs.Get)
	return t, control, err
}

// save writes an index: its own digest, then the control fields, then the
// tree, a line each.
func (c *Cache) save(digest string, opt Options, t *tree.Tree, control Control) error {
	if !cacheable(digest, opt) {
		return nil
	}
	var body bytes.Buffer
	if err := json.NewEncoder(&body).Encode(control); err != nil {
		return fmt.Errorf("save index: %w", err)
	}
	if err := t.WriteIndex(&body); err != nil {
		return err
	}
	return writeWhole(c.indexPath(digest, opt), append([]byte(hexSum(body.Bytes())+"\n"), body.Bytes()...))
}

// cacheable reports whether the outcome of opt has a name of its own. Limits
// do not count: what they refuse is not cached, and what they let pass is the
// same under any.
func cacheable(digest string, opt Options) bool {
	raw, err := hex.DecodeString(digest)
	return err == nil && len(raw) == sha256.Size && (opt.Keep == nil || opt.KeepName != "")
}

func (c *Cache) indexPath(digest string, opt Options) string {
	variant := hexSum([]byte(fmt.Sprintf("%s %t %t %q", indexVersion, opt.UsrMerge, opt.Keep != nil, opt.KeepName)))
	return filepath.Join(c.dir, digest+"-"+variant[:16])
}

// writeWhole writes a file that is there whole or not at all.
func writeWhole(path string, data []byte) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), "tmp-")
	if err != nil {
		return fmt.Errorf("save index: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("save index: %w", err), os.Remove(tmp.Name()))
		}
	}()
	_, err = tmp.Write(data)
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

func hexSum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
