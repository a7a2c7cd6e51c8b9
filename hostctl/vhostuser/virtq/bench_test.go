package virtq

import "testing"

// BenchmarkRing is the cost of a buffer through the ring in one process: a driver that offers 32 at a time, a device that
// copies 64 bytes of each.
func BenchmarkRing(b *testing.B) {
	b.Run("split", func(b *testing.B) {
		s := newSetup(b, 256, allFeatures)
		off := s.mem.Alloc(256 * benchStride)
		for i := range 256 {
			s.desc(i, uint64(off+i*benchStride), 64, 0, 0)
		}
		head := 0
		benchRing(b, s.q, func() {
			s.ring.Offer(uint16(head % 256))
			head++
		})
	})
	b.Run("packed", func(b *testing.B) {
		s := newPackedSetup(b, 256, packedFeatures)
		off := s.mem.Alloc(256 * benchStride)
		d := driver{Packed: s.ring}
		benchRing(b, s.q, func() { d.offer(s.mem.GPA+uint64(off+d.at%256*benchStride), 64, 0) })
	})
}

const benchStride = 2112 // not 2048, which would put all buffers in few sets of the cache

func benchRing(b *testing.B, q Queue, offer func()) {
	chains := make([]Chain, 32)
	var buf [64]byte
	b.ReportAllocs()
	for b.Loop() {
		for range chains {
			offer()
		}
		for i := range chains {
			if ok, err := q.Pop(&chains[i]); !ok || err != nil {
				b.Fatal(ok, err)
			}
			chains[i].Read(buf[:])
		}
		for i := range chains {
			q.Push(&chains[i], 0)
		}
		q.Flush()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(chains)), "ns/buffer")
}
