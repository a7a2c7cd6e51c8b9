package debian

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"

	"github.com/mikelolasagasti/xz"
)

// maxDictionary bounds the memory of the xz decoder; Debian's indices use 8 MiB (xz -6).
const maxDictionary = 64 << 20

// Unpack reads an xz index, never more than the signed size of its content, and compares size and digest.
func Unpack(packed io.Reader, want IndexFile) ([]byte, error) {
	x, err := xz.NewReader(bufio.NewReaderSize(packed, 1<<20), maxDictionary)
	if err != nil {
		return nil, fmt.Errorf("unpack index: %w", err)
	}
	out := bytes.NewBuffer(make([]byte, 0, want.Size+bytes.MinRead))
	if _, err := io.Copy(out, io.LimitReader(x, want.Size+1)); err != nil {
		return nil, fmt.Errorf("unpack index: %w", err)
	}
	sum := sha256.Sum256(out.Bytes())
	if int64(out.Len()) != want.Size || hex.EncodeToString(sum[:]) != want.SHA256 {
		return nil, fmt.Errorf("unpack index: its content is not what the Release lists")
	}
	return out.Bytes(), nil
}
