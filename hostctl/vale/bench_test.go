package vale

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"
	"time"
)

// frame makes a frame of n bytes between two addresses, numbered from 1.
func frame(dst, src uint32, n int) Frame {
	b := make([]byte, n)
	b[0], b[6] = 2, 2
	binary.BigEndian.PutUint32(b[2:], dst)
	binary.BigEndian.PutUint32(b[8:], src)
	b[12], b[13] = 0x08, 0x00
	return Frame{Data: b}
}

// stepped returns a switch that only the test works, with pipes. No port has to wait for others.
func stepped(t testing.TB, pipes, size int) (*Switch, []*Pipe) {
	t.Helper()
	s, err := newSwitch(Options{})
	if err != nil {
		t.Fatal(err)
	}
	s.free = true
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	var all []*Pipe
	for i := range pipes {
		p := NewPipe(size, 0)
		if err := s.Attach(fmt.Sprint(i), p.Port()); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return s, all
}

// BenchmarkForward is the switch's own work for a frame, from ring to ring in one thread.
func BenchmarkForward(b *testing.B) {
	for _, n := range []int{60, 64, 256, 1514} {
		b.Run(fmt.Sprintf("frame=%d", n), func(b *testing.B) { benchForward(b, 2, 2, n) })
	}
	for _, ports := range []int{2, 8, 32} {
		b.Run(fmt.Sprintf("ports=%d", ports), func(b *testing.B) { benchForward(b, ports, ports, 64) })
	}
	for _, macs := range []int{2, 1 << 10, 1 << 16} {
		b.Run(fmt.Sprintf("macs=%d", macs), func(b *testing.B) { benchForward(b, 2, macs, 64) })
	}
}

// A course has each of some ports send to the next one, in one thread.
type course struct {
	s     *Switch
	pipes []*Pipe
	in    [][]Frame // of each port
	at    int
	out   [MaxBatch]Frame
	took  time.Duration // the switch, for the frames that arrived
	total int
}

const benchBatch = 128

// newCourse makes one with macs addresses in all and frames of n bytes.
func newCourse(b *testing.B, ports, macs, n int) *course {
	s, pipes := stepped(b, ports, 4*benchBatch*n)
	s.free = false
	c := &course{s: s, pipes: pipes, in: make([][]Frame, ports)}
	per := macs / ports
	for p := range pipes {
		for k := range max(benchBatch, per) {
			c.in[p] = append(c.in[p], frame(uint32((p+1)%ports*per+k%per+1), uint32(p*per+k%per+1), n))
		}
	}
	for range 2 * max(1, per/benchBatch) { // until nothing is flooded
		c.step()
	}
	for _, m := range s.members { // what was flooded until then is forgiven
		m.owes = account{useless: m.uselessness()}
	}
	return c
}

func (c *course) step() {
	for p, pipe := range c.pipes {
		pipe.up.write(c.in[p][c.at:][:benchBatch])
	}
	t := time.Now()
	c.s.round()
	c.took += time.Since(t)
	for _, pipe := range c.pipes {
		for n := 1; n > 0; c.total += n {
			n = pipe.Read(c.out[:])
		}
	}
	c.at = (c.at + benchBatch) % len(c.in[0])
}

// benchForward reports the best of many short spans: the machine may have other things to do.
func benchForward(b *testing.B, ports, macs, n int) {
	c := newCourse(b, ports, macs, n)
	allocs := testing.AllocsPerRun(10, c.step)
	own, all := math.Inf(1), math.Inf(1)
	for b.Loop() {
		c.took, c.total = 0, 0
		t := time.Now()
		for range 64 {
			c.step()
		}
		if c.total != 64*benchBatch*ports {
			b.Fatalf("%d frames of %d", c.total, 64*benchBatch*ports)
		}
		own, all = min(own, float64(c.took)/float64(c.total)), min(all, float64(time.Since(t))/float64(c.total))
	}
	b.ReportMetric(own, "ns/frame")
	b.ReportMetric(all, "ns/frame-with-peers")
	b.ReportMetric(allocs, "allocs/batch")
}

// hostilities are what a flooder sends.
func hostilities() map[string][]Frame {
	big := packet{payload: 60000, size: 48}.build()
	big.Data[5] = 1 // to a port that takes no segments
	all := frame(0, 7, 60)
	copy(all.Data, "\xff\xff\xff\xff\xff\xff")
	return map[string][]Frame{
		"none": nil, "short": {{}}, "long": {{Data: make([]byte, MaxFrame+1)}}, "header": {{Header{1, 77, 0, 0, 65535, 65535}, make([]byte, 100)}},
		"its-own": {frame(7, 7, 60)}, "broadcast": {all}, "unknown": {frame(0xdead, 7, 60)}, "unread": {frame(9, 7, 60)}, "segments": {big},
	}
}

// BenchmarkHostile is how much of its rate a pair of ports has left that sends as fast as the switch lets it, while a third one
// floods the switch with the worst; a fourth one takes nothing.
func BenchmarkHostile(b *testing.B) {
	all := hostilities()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		b.Run(name, func(b *testing.B) {
			alone, flooded := 0.0, 0.0
			for b.Loop() {
				alone = max(alone, pairRate(b, nil))
				flooded = max(flooded, pairRate(b, all[name]))
			}
			b.ReportMetric(flooded/1e6, "Mframes/s")
			b.ReportMetric(flooded/alone, "of-its-rate")
		})
	}
}

// pairRate returns how many frames a second two ports exchange, in the best of some spans.
func pairRate(b *testing.B, flood []Frame) (best float64) {
	c := newCourse(b, 2, 2, 64)
	other := NewPipe(0, 0)
	_ = c.s.Attach("unread", other.Port())
	if flood != nil {
		_ = c.s.Attach("flooder", &flooder{frames: flood})
	}
	other.Write([]Frame{frame(1, 9, 60)}) // known, and never reads
	for range 20 {
		c.total = 0
		t := time.Now()
		for range 128 {
			c.step()
		}
		best = max(best, float64(c.total)/time.Since(t).Seconds())
	}
	return best
}
