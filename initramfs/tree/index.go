package tree

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
)

// record is an Entry in an index.
type record struct {
	Path    string `json:"path"`
	Mode    uint32 `json:"mode"`
	UID     uint32 `json:"uid,omitempty"`
	GID     uint32 `json:"gid,omitempty"`
	Rdev    uint64 `json:"rdev,omitempty"`
	Link    string `json:"link,omitempty"`
	Size    int64  `json:"size,omitempty"`
	SHA256  string `json:"sha256,omitempty"`
	Source  string `json:"source,omitempty"`
	Implied bool   `json:"implied,omitempty"`
}

// WriteIndex writes everything of t but the contents to w, as JSON.
func (t *Tree) WriteIndex(w io.Writer) error {
	records := make([]record, 0, len(t.entries))
	for path, e := range t.All() {
		r := record{
			Path: path, Mode: e.Mode, UID: e.UID, GID: e.GID, Rdev: e.Rdev,
			Link: e.Link, Source: e.Source, Implied: t.entries[path].implied,
		}
		if e.Blob != nil {
			sum := e.Blob.SHA256()
			r.Size, r.SHA256 = e.Blob.Size(), hex.EncodeToString(sum[:])
		}
		records = append(records, r)
	}
	if err := json.NewEncoder(w).Encode(records); err != nil {
		return fmt.Errorf("write tree index: %w", err)
	}
	return nil
}

// ReadIndex reads what WriteIndex wrote. open finds the contents, and fails
// when one is gone.
func ReadIndex(r io.Reader, open func(size int64, sum [sha256.Size]byte) (Blob, error)) (*Tree, error) {
	var records []record
	if err := json.NewDecoder(r).Decode(&records); err != nil {
		return nil, fmt.Errorf("read tree index: %w", err)
	}
	t := New()
	for _, rec := range records {
		if err := t.putRecord(rec, open); err != nil {
			return nil, fmt.Errorf("read tree index: %w", err)
		}
	}
	return t, nil
}

func (t *Tree) putRecord(r record, open func(int64, [sha256.Size]byte) (Blob, error)) error {
	e := Entry{Mode: r.Mode, UID: r.UID, GID: r.GID, Rdev: r.Rdev, Link: r.Link, Source: r.Source}
	if e.IsRegular() {
		sum, err := hex.DecodeString(r.SHA256)
		if err != nil || len(sum) != sha256.Size {
			return fmt.Errorf("%s: bad digest %.80q", r.Path, r.SHA256)
		}
		blob, err := open(r.Size, [sha256.Size]byte(sum))
		if err != nil {
			return err
		}
		e.Blob = blob
	}
	if err := t.Put(r.Path, e); err != nil {
		return err
	}
	t.entries[r.Path] = node{Entry: e, implied: r.Implied && e.IsDir()}
	return nil
}
