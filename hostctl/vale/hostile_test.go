package vale

import (
	"bytes"
	"testing"
)

// flooder is a port that always has a full batch of the worst.
type flooder struct {
	script
	frames []Frame
	at     int
}

func (p *flooder) Receive(frames []Frame) (int, error) {
	for i := range frames {
		frames[i] = p.frames[p.at%len(p.frames)]
		p.at++
	}
	return len(frames), nil
}

// TestFlood: whatever a port sends, as fast as it can, a pair of others that is not its destination loses no frame, and gets
// none out of order.
func TestFlood(t *testing.T) {
	big := packet{payload: 60000, size: 48}.build()
	big.Data[5] = 3 // to the third port, which takes no segments
	for name, frames := range map[string][]Frame{
		"short frames": {{}, {Data: make([]byte, 13)}},
		"long frames":  {{Data: make([]byte, MaxFrame+1)}},
		"bad headers":  {{Header{1, 77, 0, 0, 65535, 65535}, make([]byte, 100)}},
		"its own":      {frame(7, 7, 60)},
		"one port":     {frame(3, 7, 60)},
		"segments":     {big},
	} {
		t.Run(name, func(t *testing.T) {
			s, p := stepped(t, 2, 0)
			victim := &script{}
			_, _ = s.Attach("victim", victim), s.Attach("flooder", &flooder{frames: frames})
			victim.in = []Frame{frame(1, 3, 60)} // so that it is known
			checkPair(t, s, p, 200)
		})
	}
}

// checkPair sends frames between two pipes, some in each round, and wants them all.
func checkPair(t *testing.T, s *Switch, p []*Pipe, rounds int) {
	t.Helper()
	p[1].Write([]Frame{frame(1, 2, 60)}) // known
	s.round()
	out, sent, came := make([]Frame, MaxBatch), 0, 0
	for range rounds {
		for range 8 {
			f := numbered(sent)
			if p[0].Write([]Frame{f}) != 1 {
				t.Fatal("no room")
			}
			sent++
		}
		s.round()
		for n := p[1].Read(out); n > 0; n = p[1].Read(out) {
			for _, f := range out[:n] {
				if bytes.Equal(f.Data[6:12], []byte{2, 0, 0, 0, 0, 1}) {
					if !bytes.Equal(f.Data, numbered(came).Data) {
						t.Fatalf("frame %d is not it", came)
					}
					came++
				}
			}
		}
	}
	if came != sent {
		t.Errorf("%d frames of %d", came, sent)
	}
}

// TestFloodOfBroadcasts: those go to everybody, and still cost the others no frame as long as they read.
func TestFloodOfBroadcasts(t *testing.T) {
	s, p := stepped(t, 2, 1<<20)
	f := frame(0, 7, 60)
	copy(f.Data, "\xff\xff\xff\xff\xff\xff")
	_ = s.Attach("flooder", &flooder{frames: []Frame{f}})
	checkPair(t, s, p, 200)
}

// TestPipeCarries: records of all lengths, through many turns of the ring, and what does not fit is not half there.
func TestPipeCarries(t *testing.T) {
	r := newRing(0)
	out := make([]Frame, MaxBatch)
	sent, came := 0, 0
	length := func(i int) int { return []int{14, 60, 64, 65, 33, 32, 31, 1514, 9018, MaxFrame}[i*7%10] }
	for turn := range 300 {
		for {
			f := Frame{Header: Header{Flags: byte(sent), CsumStart: uint16(sent), CsumOffset: 7}, Data: noise[sent%1000:][:length(sent)]}
			if n, size := r.write([]Frame{f}); n == 0 {
				break
			} else if size != len(f.Data) {
				t.Fatal(size)
			}
			sent++
		}
		n := r.read(out[:1+turn%MaxBatch])
		for _, f := range out[:n] {
			if f.Header != (Header{Flags: byte(came), CsumStart: uint16(came), CsumOffset: 7}) || !bytes.Equal(f.Data, noise[came%1000:][:length(came)]) {
				t.Fatalf("frame %d differs", came)
			}
			came++
		}
		r.release()
	}
	if sent < 500 || came > sent {
		t.Errorf("%d sent, %d came", sent, came)
	}
}

// TestNoAllocations: a round allocates nothing, whatever is done to the frames.
func TestNoAllocations(t *testing.T) {
	for name, f := range map[string]Frame{
		"plain": frame(2, 1, 1514), "flooded": frame(99, 1, 60), "checksum": packet{payload: 1000}.build(), "segments": packets[4].build(),
	} {
		s, p := stepped(t, 3, 0)
		out, batch := make([]Frame, MaxBatch), []Frame{f, f, f, f}
		step := func() {
			p[0].Write(batch)
			s.round()
			for _, to := range p {
				for to.Read(out) > 0 {
				}
			}
		}
		step()
		if n := testing.AllocsPerRun(100, step); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
