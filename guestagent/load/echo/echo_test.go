package echo

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sent is a run that has sent n requests of a size.
func sent(n int64, size int) *run {
	r := &run{o: Options{Size: size}, payload: newPattern(size), woken: make(chan struct{}, 1), start: time.Now()}
	for i := range n {
		r.res.Sent++
		r.slots[uint16(i)] = slot{n: i + 1, waiting: true}
	}
	r.outstanding = int(min(n, 1<<16))
	return r
}

func reply(r *run, n int64) message {
	return message{seq: uint16(n), payload: bytes.Clone(r.payload.of(n)[headerLen:]), intact: true}
}

func TestJudge(t *testing.T) {
	type counts struct{ received, duplicates, corrupt, late, unreachable int64 }
	for name, tt := range map[string]struct {
		sent int64
		size int
		in   func(r *run) []message
		want counts
	}{
		"good":       {2, 64, func(r *run) []message { return []message{reply(r, 0), reply(r, 1)} }, counts{received: 2}},
		"reordered":  {2, 64, func(r *run) []message { return []message{reply(r, 1), reply(r, 0)} }, counts{received: 2}},
		"duplicate":  {1, 64, func(r *run) []message { return []message{reply(r, 0), reply(r, 0)} }, counts{received: 1, duplicates: 1}},
		"empty":      {1, 0, func(r *run) []message { return []message{reply(r, 0)} }, counts{received: 1}},
		"never sent": {1, 64, func(r *run) []message { return []message{reply(r, 5)} }, counts{}},
		"bit flip": {1, 64, func(r *run) []message {
			m := reply(r, 0)
			m.payload[63] ^= 1
			return []message{m, reply(r, 0)}
		}, counts{corrupt: 1, duplicates: 1}},
		"cut":          {1, 64, func(r *run) []message { m := reply(r, 0); m.payload = m.payload[:63]; return []message{m} }, counts{corrupt: 1}},
		"checksum":     {1, 64, func(r *run) []message { m := reply(r, 0); m.intact = false; return []message{m} }, counts{corrupt: 1}},
		"another's":    {2, 64, func(r *run) []message { m := reply(r, 1); m.seq = 0; return []message{m} }, counts{corrupt: 1}},
		"65536 ago":    {1<<16 + 1, 64, func(r *run) []message { return []message{reply(r, 0)} }, counts{late: 1}},
		"unreachable":  {1, 64, func(r *run) []message { return []message{{seq: 0, unreachable: true}} }, counts{unreachable: 1}},
		"short, other": {2, 4, func(r *run) []message { m := reply(r, 1); m.seq = 0; return []message{m} }, counts{corrupt: 1}},
	} {
		r := sent(tt.sent, tt.size)
		for _, m := range tt.in(r) {
			r.judge(m)
		}
		got := counts{r.res.Received, r.res.Duplicates, r.res.Corrupt, r.res.Late, r.res.Unreachable}
		if got != tt.want {
			t.Errorf("%s: %+v, want %+v", name, got, tt.want)
		}
	}
}

func TestChecksum(t *testing.T) {
	naive := func(b []byte) uint16 {
		var s uint32
		for i := 0; i < len(b); i += 2 {
			s += uint32(b[i]) << 8
			if i+1 < len(b) {
				s += uint32(b[i+1])
			}
			s = s&0xffff + s>>16
		}
		return uint16(s)
	}
	b := newPattern(3000).base
	for n := range 300 {
		if got, want := sum(b[n:n*7]), naive(b[n:n*7]); got != want {
			t.Errorf("%d bytes: %04x, want %04x", n*6, got, want)
		}
	}
	if got := sum(bytes.Repeat([]byte{255}, 65535)); got != naive(bytes.Repeat([]byte{255}, 65535)) {
		t.Errorf("all ones: %04x", got)
	}
}

func TestParse(t *testing.T) {
	const id = 0x1234
	frame := []byte{typeEchoReply, 0, 0, 0, 0x12, 0x34, 0, 9, 'x'}
	binary.BigEndian.PutUint16(frame[2:], ^sum(frame))
	m, err := parse(frame, id, true)
	if err != nil || m.seq != 9 || !m.intact || string(m.payload) != "x" {
		t.Errorf("%+v, %v", m, err)
	}
	frame[8]++
	if m, _ := parse(frame, id, true); m.intact {
		t.Error("a wrong checksum passes")
	}
	if _, err := parse(frame, id+1, true); !errors.Is(err, errNotOurs) {
		t.Error("another's reply is ours")
	}
	inner := append(append([]byte{0x45}, make([]byte, 19)...), typeEcho, 0, 0, 0, 0x12, 0x34, 0, 7)
	m, err = parse(append([]byte{typeUnreachable, 1, 0, 0, 0, 0, 0, 0}, inner...), id, true)
	if err != nil || !m.unreachable || m.seq != 7 {
		t.Errorf("%+v, %v", m, err)
	}
}

// FuzzReceive takes arbitrary packets apart.
func FuzzReceive(f *testing.F) {
	f.Add([]byte{0x45, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0})
	f.Add(bytes.Repeat([]byte{0x46, 3}, 40))
	r := sent(10, 16)
	f.Fuzz(func(t *testing.T, b []byte) {
		if p := payloadOfIP(b); p != nil {
			if m, err := parse(p, 1, true); err == nil {
				r.judge(m)
			}
		}
	})
}
