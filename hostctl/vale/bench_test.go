package vale

import (
	"encoding/binary"
	"fmt"
	"math"
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

// stepped returns a switch that only the test works, with pipes.
func stepped(t testing.TB, pipes, size int) (*Switch, []*Pipe) {
	t.Helper()
	s, err := newSwitch(Options{})
	if err != nil {
		t.Fatal(err)
	}
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
