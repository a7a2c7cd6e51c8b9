package tree

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
)

// digestVersion opens the canonical encoding; a change of the encoding is a
// change of this line, so that old and new digests never meet by accident.
const digestVersion = "picolab tree 1\n"

// Digest is the SHA-256 of the canonical encoding: for each entry in order the
// length-prefixed path, mode, owner, device, link target, size and content
// digest. Sources are left out. Two trees with one digest write the same files.
func (t *Tree) Digest() [sha256.Size]byte {
	h := sha256.New()
	h.Write([]byte(digestVersion))
	for path, e := range t.All() {
		e.encode(h, path)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

func (e Entry) encode(h hash.Hash, path string) {
	b := appendString(make([]byte, 0, 128), path)
	for _, v := range []uint64{uint64(e.Mode), uint64(e.UID), uint64(e.GID), e.Rdev, uint64(e.Size())} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	b = appendString(b, e.Link)
	if e.Blob != nil {
		sum := e.Blob.SHA256()
		b = append(b, sum[:]...)
	}
	h.Write(b)
}

func appendString(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint64(b, uint64(len(s))), s...)
}
