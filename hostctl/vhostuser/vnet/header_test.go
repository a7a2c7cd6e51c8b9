package vnet

import "testing"

const allOffloads = 1<<32 | featureCsum | featureHostTSO4 | featureHostTSO6 | featureHostECN | featureHostUSO |
	featureGuestCsum | featureGuestTSO4 | featureGuestTSO6 | featureGuestECN | featureGuestUSO4 | featureGuestUSO6

// TestCVE_2024_11614: offsets beyond the frame, and other lies.
func TestCVE_2024_11614(t *testing.T) {
	const n = 100 // bytes of the frame
	tso := Header{NeedsCsum, GSOTCPv4, 54, 1448, 34, 16}
	with := func(change func(*Header)) Header { h := tso; change(&h); return h }
	tests := []struct {
		name     string
		h        Header
		features uint64
		ok       bool
		want     Header
	}{
		{"nothing", Header{}, 0, true, Header{}},
		{"junk without meaning", Header{0xfe, 0, 1, 2, 3, 4}, 0, true, Header{}},
		{"checksum", Header{0xff, 0, 7, 8, 34, 16}, featureCsum, true, Header{1, 0, 0, 0, 34, 16}},
		{"checksum at the end", Header{1, 0, 0, 0, 90, 8}, featureCsum, true, Header{1, 0, 0, 0, 90, 8}},
		{"checksum beyond the end", Header{1, 0, 0, 0, 90, 9}, featureCsum, false, Header{}},
		{"start beyond the end", Header{1, 0, 0, 0, 101, 0}, featureCsum, false, Header{}},
		{"sum that overflows 16 bits", Header{1, 0, 0, 0, 0xffff, 0xffff}, featureCsum, false, Header{}},
		{"start in the Ethernet header", Header{1, 0, 0, 0, 13, 4}, featureCsum, false, Header{}},
		{"checksum without the feature", Header{1, 0, 0, 0, 34, 16}, featureHostTSO4, false, Header{}},
		{"segments", tso, allOffloads, true, tso},
		{"segments without checksum", with(func(h *Header) { h.Flags = 0 }), allOffloads, false, Header{}},
		{"segments without the feature", tso, featureCsum | featureHostTSO6, false, Header{}},
		{"segments of IPv6", with(func(h *Header) { h.GSOType = GSOTCPv6 }), allOffloads, true, with(func(h *Header) { h.GSOType = GSOTCPv6 })},
		{"ECN without the feature", with(func(h *Header) { h.GSOType |= GSOECN }), allOffloads &^ featureHostECN, false, Header{}},
		{"segments of no bytes", with(func(h *Header) { h.GSOSize = 0 }), allOffloads, false, Header{}},
		{"no room for TCP", with(func(h *Header) { h.CsumStart, h.CsumOffset = 81, 0 }), allOffloads, false, Header{}},
		{"header longer than the frame", with(func(h *Header) { h.HdrLen = 0xffff }), allOffloads, true, with(func(h *Header) { h.HdrLen = n })},
		{"UDP fragments", with(func(h *Header) { h.GSOType = 3 }), ^uint64(0), false, Header{}},
		{"UDP with ECN", with(func(h *Header) { h.GSOType = GSOUDP | GSOECN }), ^uint64(0), false, Header{}},
		{"UDP segments", with(func(h *Header) { h.GSOType = GSOUDP }), allOffloads, true, with(func(h *Header) { h.GSOType = GSOUDP })},
		{"ECN of nothing", Header{0, GSOECN, 0, 0, 0, 0}, allOffloads, true, Header{}},
	}
	for _, tt := range tests {
		got := tt.h
		if ok := got.sanitize(n, tt.features); ok != tt.ok || ok && got != tt.want {
			t.Errorf("%s: %v, %+v", tt.name, ok, got)
		}
	}
}

// TestAccepts: what leaves one guest with all offloads is taken by another with all, and not by one without.
func TestAccepts(t *testing.T) {
	for _, kind := range []uint8{GSONone, GSOTCPv4, GSOTCPv6, GSOTCPv4 | GSOECN, GSOTCPv6 | GSOECN, GSOUDP} {
		h := Header{NeedsCsum, kind, 54, 1448, 34, 16}
		if !h.sanitize(1000, allOffloads) || !h.accepts(allOffloads) {
			t.Errorf("kind %#x is refused", kind)
		}
		if h.accepts(allOffloads &^ featureGuestCsum) {
			t.Errorf("kind %#x is accepted without checksums", kind)
		}
		if need, _ := gsoNeeds(kind, guestGSO); need != 0 && h.accepts(allOffloads&^need) {
			t.Errorf("kind %#x is accepted without the feature", kind)
		}
	}
	if (&Header{NeedsCsum, 3, 0, 1, 34, 6}).accepts(^uint64(0)) || !(&Header{}).accepts(0) {
		t.Error("fragments are accepted, or nothing is not")
	}
}

func TestHeaderSize(t *testing.T) {
	for features, want := range map[uint64]int{0: 10, featureMrgRxbuf: 12, 1 << 32: 12, 1<<32 | featureMrgRxbuf: 12} {
		if got := sizeOf(features); got != want {
			t.Errorf("features %#x: %d bytes", features, got)
		}
	}
}

// FuzzHeader: whatever is passed on can be worked with blindly.
func FuzzHeader(f *testing.F) {
	f.Add([]byte{1, 1, 54, 0, 0xa8, 5, 34, 0, 16, 0, 0, 0}, 100, uint64(allOffloads))
	f.Fuzz(func(t *testing.T, b []byte, n int, features uint64) {
		var room [headerSize]byte
		copy(room[:], b)
		n = min(max(n, etherSize), MaxFrame)
		var h Header
		h.decode(room[:])
		if !h.sanitize(n, features) {
			return
		}
		if h.Flags == 0 && h != (Header{}) || h.Flags&^NeedsCsum != 0 || int(h.HdrLen) > n {
			t.Errorf("%+v", h)
		}
		if h.Flags != 0 && (int(h.CsumStart) < etherSize || int(h.CsumStart)+int(h.CsumOffset)+2 > n || h.GSOType != 0 && h.GSOSize == 0) {
			t.Errorf("%+v in %d bytes", h, n)
		}
		var out [headerSize]byte
		var again Header
		h.encode(&out, 1)
		if again.decode(out[:]); again != h {
			t.Errorf("%+v becomes %+v", h, again)
		}
	})
}
