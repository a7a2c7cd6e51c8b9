package pcapng

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"time"
)

func sample(t testing.TB) ([]byte, []Packet) {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b, "eth0", 100)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1700000000, 123456789)
	packets := []Packet{
		{Time: at, Data: []byte{}, Direction: Inbound},
		{Time: at.Add(1), Data: []byte("abc"), Length: 3, Direction: Outbound},
		{Time: at.Add(time.Hour), Data: bytes.Repeat([]byte{9}, 100), Length: 1500},
	}
	for _, p := range packets {
		if err := w.Write(p); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(3, 1); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), packets
}

func TestRoundTrip(t *testing.T) {
	file, want := sample(t)
	r := NewReader(bytes.NewReader(file))
	for i, w := range want {
		p, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !p.Time.Equal(w.Time) || !bytes.Equal(p.Data, w.Data) || p.Length != w.Length || p.Direction != w.Direction || r.Interface(p.Interface) != "eth0" {
			t.Errorf("packet %d: %+v, want %+v", i, p, w)
		}
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("end: %v", err)
	}
}

func TestCutFiles(t *testing.T) {
	file, _ := sample(t)
	for n := range file {
		r := NewReader(bytes.NewReader(file[:n]))
		var err error
		for err == nil {
			_, err = r.Next()
		}
		if whole := n == 0 || endsBlock(file, n); errors.Is(err, io.EOF) != whole {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
}

// endsBlock says whether a block of a file ends at n.
func endsBlock(file []byte, n int) bool {
	at := 0
	for at < n {
		at += int(binary.LittleEndian.Uint32(file[at+4:]))
	}
	return at == n
}

func TestBigEndianAndMicroseconds(t *testing.T) {
	u32 := binary.BigEndian.AppendUint32
	b := u32(u32(u32(nil, blockSection), 28), byteOrderMagic)
	b = u32(u32(u32(u32(b, 1<<16), 0xffffffff), 0xffffffff), 28)
	b = u32(u32(u32(u32(u32(b, blockInterface), 20), linkEthernet<<16), 0), 20)
	b = u32(u32(u32(b, 77), 12), 12) // unknown
	b = u32(u32(u32(u32(b, blockEnhanced), 36), 0), 0)
	b = u32(u32(u32(u32(b, 1500000), 2), 60), 0x0a0b0000)
	b = u32(b, 36)
	p, err := NewReader(bytes.NewReader(b)).Next()
	if err != nil || !p.Time.Equal(time.Unix(1, 500000000)) || !bytes.Equal(p.Data, []byte{10, 11}) || p.Length != 60 {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestResolution(t *testing.T) {
	for v, want := range map[byte]time.Duration{6: time.Microsecond, 9: 1, 3: time.Millisecond, 0: time.Second} {
		if unit, _ := resolution(v); unit != want {
			t.Errorf("10^-%d: %v", v, unit)
		}
	}
	i := iface{}
	i.unit, i.tick = resolution(0x80 | 20)
	if got := i.time(1 << 19); got.Sub(time.Unix(0, 500000000)).Abs() > time.Microsecond {
		t.Errorf("2^-20: %v", got)
	}
}

// FuzzReader takes arbitrary files.
func FuzzReader(f *testing.F) {
	file, _ := sample(f)
	f.Add(file)
	f.Add(file[:len(file)-3])
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewReader(bytes.NewReader(b))
		for n := 0; ; n++ {
			p, err := r.Next()
			if err != nil {
				return
			}
			if len(p.Data) > len(b) || n > len(b) {
				t.Fatal("more than there is")
			}
		}
	})
}
