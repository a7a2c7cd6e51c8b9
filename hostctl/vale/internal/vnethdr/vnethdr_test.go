package vnethdr

import (
	"testing"

	"picolab/hostctl/vale"
)

// TestHeader: what is put is what is got, but for flags that are the kernel's own.
func TestHeader(t *testing.T) {
	want := vale.Header{Flags: vale.NeedsCsum, GSOType: vale.GSOTCPv4, HdrLen: 54, GSOSize: 1448, CsumStart: 34, CsumOffset: 16}
	var b [Size]byte
	Put(&b, &want)
	if got := Get(b[:]); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	b[0] |= 2 // DATA_VALID
	if got := Get(b[:]); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
