package pktgen

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"picolab/guestagent/load/pcapng"
)

// pcap writes frames into a file of the old format, a millisecond apart.
func pcap(order binary.AppendByteOrder, magic uint32, link uint32, frames ...string) []byte {
	b := order.AppendUint32(nil, magic)
	for _, v := range []uint32{2 | 4<<16, 0, 0, 65535, link} {
		b = order.AppendUint32(b, v)
	}
	for i, f := range frames {
		part := uint32(i) * 1000
		if magic == magicNano {
			part *= 1000
		}
		for _, v := range []uint32{100, part, uint32(len(f)), uint32(len(f))} {
			b = order.AppendUint32(b, v)
		}
		b = append(b, f...)
	}
	return b
}

func captures(t testing.TB) map[string][]byte {
	t.Helper()
	frames := []string{"first frame of it", "the second", "third"}
	var ng bytes.Buffer
	w, err := pcapng.NewWriter(&ng, "eth0", 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range frames {
		p := pcapng.Packet{Time: time.Unix(100, int64(i)*1e6), Data: []byte(f), Length: len(f)}
		if err := w.Write(p); err != nil {
			t.Fatal(err)
		}
	}
	return map[string][]byte{
		"little": pcap(binary.LittleEndian, magicMicro, 1, frames...), "big": pcap(binary.BigEndian, magicMicro, 1, frames...),
		"nano": pcap(binary.LittleEndian, magicNano, 1, frames...), "pcapng": ng.Bytes(),
	}
}

func TestReplayFiles(t *testing.T) {
	for name, data := range captures(t) {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := ReadReplay(path, true)
		if err != nil || fmt.Sprintf("%s", r.Frames) != "[first frame of it the second third]" || fmt.Sprint(r.Times) != "[0s 1ms 2ms]" {
			t.Errorf("%s: %s at %v, %v", name, r.Frames, r.Times, err)
		}
		if r, _ := ReadReplay(path, false); r.Times != nil {
			t.Errorf("%s: times that nobody wants", name)
		}
	}
}

func TestReplayRefuses(t *testing.T) {
	whole := pcap(binary.LittleEndian, magicMicro, 1, "frame")
	for name, data := range map[string][]byte{
		"empty": nil, "text": []byte("no capture at all"), "no packets": whole[:24], "cut header": whole[:20], "cut packet": whole[:len(whole)-1],
		"other link": pcap(binary.LittleEndian, magicMicro, 101, "frame"), "too long": pcap(binary.LittleEndian, magicMicro, 1, string(make([]byte, MaxFrame+1))),
	} {
		if r, err := readReplay(bufio.NewReader(bytes.NewReader(data))); err == nil {
			t.Errorf("%s: %d frames", name, len(r.Frames))
		}
	}
}

func TestReplayOverAndOver(t *testing.T) {
	a, b := newWire(2)
	c := config(t, "-f", "tx", "-n", "10", "-p", "2")
	for i := range 3 {
		c.Replay.Frames = append(c.Replay.Frames, bytes.Repeat([]byte{byte(i)}, 60))
	}
	if r, err := Run(t.Context(), a, *c, nil); err != nil || r.Packets != 10 {
		t.Fatalf("%+v, %v", r, err)
	}
	seen := map[byte]int{}
	for _, f := range b.lines[0].inbox {
		seen[f[0]]++
	}
	if seen[0]+seen[1]+seen[2] != 10 || seen[1] != 5 { // frame 1 is all that the second thread has
		t.Errorf("frames %v", seen)
	}
}

func TestReplayOnceKeepsTimes(t *testing.T) {
	a, b := newWire(1)
	c := config(t, "-f", "tx")
	for i := range 4 {
		c.Replay.Frames = append(c.Replay.Frames, make([]byte, 60+i))
		c.Replay.Times = append(c.Replay.Times, time.Duration(i)*time.Millisecond)
	}
	c.Replay.Once = true
	r, err := Run(t.Context(), a, *c, nil)
	if err != nil || r.Packets != 4 || r.Bytes != 246 || len(b.lines[0].inbox) != 4 || r.Elapsed < 3*time.Millisecond || r.Events != 4 {
		t.Errorf("%+v, %v", r, err)
	}
}

func FuzzReplay(f *testing.F) {
	for _, data := range captures(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := readReplay(bufio.NewReader(bytes.NewReader(data)))
		if err == nil && (len(r.Frames) == 0 || len(r.Times) != len(r.Frames)) {
			t.Errorf("%d frames at %d times", len(r.Frames), len(r.Times))
		}
	})
}
