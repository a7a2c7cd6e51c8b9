package catalogue

import (
	"bytes"
	"testing"
)

// TestGenerated shows that what is generated does not depend on where a read begins, and that seeds differ.
func TestGenerated(t *testing.T) {
	whole := make([]byte, 1000)
	generated{1}.ReadAt(whole, 0)
	for at := range int64(20) {
		part := make([]byte, 77)
		if n, err := (generated{1}).ReadAt(part, at); n != len(part) || err != nil || !bytes.Equal(part, whole[at:at+77]) {
			t.Errorf("from %d: %d bytes, %v, %x; want %x", at, n, err, part, whole[at:at+77])
		}
	}
	other := make([]byte, 1000)
	generated{2}.ReadAt(other, 0)
	if bytes.Equal(whole, other) || bytes.Equal(whole[:8], whole[8:16]) {
		t.Error("the bytes repeat")
	}
}
