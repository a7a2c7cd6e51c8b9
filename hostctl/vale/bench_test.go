package vale

import (
	"encoding/binary"
	"fmt"
	"testing"
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

// benchForward has each port send to the next one, macs addresses in all.
func benchForward(b *testing.B, ports, macs, n int) {
	s, pipes := stepped(b, ports, 0)
	const batch = 128
	perPort := macs / ports
	in := make([][]Frame, ports)
	for p := range pipes {
		for k := range max(batch, perPort) {
			f := frame(uint32((p+1)%ports*perPort+k%perPort+1), uint32(p*perPort+k%perPort+1), n)
			in[p] = append(in[p], f)
		}
	}
	out := make([]Frame, MaxBatch)
	at, total := 0, 0
	step := func() {
		for p, pipe := range pipes {
			pipe.up.write(in[p][at:][:batch])
		}
		s.round()
		for _, pipe := range pipes {
			total += pipe.Read(out)
		}
		at = (at + batch) % len(in[0])
	}
	for range 2 * max(1, perPort/batch) {
		step()
	}
	total = 0
	allocs := testing.AllocsPerRun(10, step)
	total = 0
	for b.Loop() {
		step()
	}
	b.StopTimer()
	want := b.N * batch * ports
	if total != want {
		b.Fatalf("%d frames of %d", total, want)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(total), "ns/frame")
	b.ReportMetric(allocs, "allocs/batch")
}
