package virtq

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"picolab/hostctl/vhostuser/guestmem"
	"picolab/hostctl/vhostuser/internal/frontend"
)

// cpuTime returns what the process has used: on a machine that others use, too, it says more than the time of day.
func cpuTime() time.Duration {
	var ru unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &ru)
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

func report(b *testing.B, start time.Duration) {
	b.ReportMetric(float64(cpuTime()-start)/float64(b.N)/benchBatch, "cpu-ns/buffer")
}

const (
	benchStride = 2112 // not 2048, which would put all buffers in few sets of the cache
	benchBatch  = 32
)

// benchDriver is a driver that costs next to nothing: its buffers lie ready, it publishes and takes back a batch at a time.
type benchDriver interface {
	offer(n int)
	reap() int
}

// benchSplit has entry i of the avail ring name descriptor i, for ever.
type benchSplit struct {
	*frontend.Ring
	mem []byte
}

func newBenchSplit(s *setup, off, n int, flags uint16) *benchSplit {
	d := &benchSplit{s.ring, s.mem.Mem}
	for i := range s.ring.Size {
		s.ring.PutDesc(s.ring.Desc, i, s.mem.GPA+uint64(off+i*benchStride), uint32(n), flags, 0)
		binary.LittleEndian.PutUint16(d.mem[s.ring.Avail+4+2*i:], uint16(i))
	}
	return d
}

func (d *benchSplit) offer(n int) {
	d.AvailIdx += uint16(n)
	d.SetAvailIdx(d.AvailIdx)
}

func (d *benchSplit) reap() (n int) {
	for used := d.PublishedUsed(); d.UsedIdx != used; d.UsedIdx++ {
		n += 1 + int(d.mem[d.Used+4+8*(int(d.UsedIdx)&(d.Size-1))+7]) // the length is less than 2^24
	}
	return n
}

// benchPacked rewrites descriptors, as it must.
type benchPacked struct {
	desc           []byte
	addr           uint64
	len            uint64
	flags          uint32
	mask, at, used uint32
}

func newBenchPacked(s *packedSetup, off, n int, flags uint16) *benchPacked {
	return &benchPacked{desc: s.mem.Mem[s.ring.Desc:][:16*s.ring.Size], addr: s.mem.GPA + uint64(off), len: uint64(n),
		flags: uint32(flags), mask: uint32(s.ring.Size - 1)}
}

func (d *benchPacked) owner(at uint32, used bool) uint32 {
	return uint32(frontend.Place{Wrap: at&(d.mask+1) == 0}.Owner(used))
}

func (d *benchPacked) offer(n int) {
	first := d.at
	for i := range uint32(n) {
		at := first + uint32(n) - 1 - i // the head last
		e := d.desc[16*(at&d.mask):][:16]
		binary.LittleEndian.PutUint64(e, d.addr+uint64(at&d.mask)*benchStride)
		binary.LittleEndian.PutUint64(e[8:], d.len|uint64(at&d.mask)<<32|uint64(d.flags|d.owner(at, false))<<48)
	}
	d.at += uint32(n)
	e := d.desc[16*(first&d.mask):]
	guestmem.Store32(e, 12, binary.LittleEndian.Uint32(e[12:])) // ordering: once a batch
}

func (d *benchPacked) reap() (n int) {
	for {
		w := guestmem.Load32(d.desc, int(16*(d.used&d.mask)+12))
		if w>>16&(1<<7|1<<15) != d.owner(d.used, true) {
			return n
		}
		d.used, n = d.used+1, n+1
	}
}

// BenchmarkRing is the cost of a buffer through the ring in one process, the driver's side included: offered 32 at a time,
// its bytes copied out, given back.
func BenchmarkRing(b *testing.B) {
	for _, size := range []int{256, 1024} {
		for _, n := range []int{64, 1514} {
			b.Run(fmt.Sprintf("split/%d/%d", n, size), func(b *testing.B) {
				s := newSizedSetup(b, size, allFeatures, size*8192)
				benchRing(b, s.q, newBenchSplit(s, s.mem.Alloc(size*benchStride), n, 0), n)
			})
			b.Run(fmt.Sprintf("packed/%d/%d", n, size), func(b *testing.B) {
				s := newSizedPackedSetup(b, size, packedFeatures, size*8192)
				benchRing(b, s.q, newBenchPacked(s, s.mem.Alloc(size*benchStride), n, 0), n)
			})
		}
	}
}

func benchRing(b *testing.B, q Queue, d benchDriver, n int) {
	chains := make([]Chain, benchBatch)
	buf := make([]byte, n)
	b.ReportAllocs()
	start := cpuTime()
	for b.Loop() {
		d.offer(benchBatch)
		if k, err := q.PopBatch(chains); k != benchBatch || err != nil {
			b.Fatal(k, err)
		}
		for i := range chains {
			chains[i].Read(buf)
		}
		q.PushBatch(chains)
		q.Flush()
		if d.reap() != benchBatch {
			b.Fatal("buffers are missing")
		}
	}
	report(b, start)
}

// BenchmarkForward is the cost of a frame from one ring to another in one thread, copied once, both drivers included.
func BenchmarkForward(b *testing.B) {
	for _, size := range []int{256, 1024} {
		for _, n := range []int{64, 1514} {
			b.Run(fmt.Sprintf("split/%d/%d", n, size), func(b *testing.B) {
				in, out := newSizedSetup(b, size, allFeatures, size*8192), newSizedSetup(b, size, allFeatures, size*8192)
				benchForward(b, in.q, out.q, newBenchSplit(in, in.mem.Alloc(size*benchStride), n, 0),
					newBenchSplit(out, out.mem.Alloc(size*benchStride), 2048, frontend.Write))
			})
			b.Run(fmt.Sprintf("packed/%d/%d", n, size), func(b *testing.B) {
				in, out := newSizedPackedSetup(b, size, packedFeatures, size*8192), newSizedPackedSetup(b, size, packedFeatures, size*8192)
				benchForward(b, in.q, out.q, newBenchPacked(in, in.mem.Alloc(size*benchStride), n, 0),
					newBenchPacked(out, out.mem.Alloc(size*benchStride), 2048, frontend.Write))
			})
		}
	}
}

func benchForward(b *testing.B, in, out Queue, from, to benchDriver) {
	src, dst := make([]Chain, benchBatch), make([]Chain, benchBatch)
	b.ReportAllocs()
	start := cpuTime()
	for b.Loop() {
		from.offer(benchBatch)
		to.offer(benchBatch)
		n, _ := in.PopBatch(src)
		if k, err := out.PopBatch(dst[:n]); k != benchBatch || err != nil {
			b.Fatal(k, err)
		}
		for i := range src {
			copyFrame(&dst[i], &src[i])
		}
		out.PushBatch(dst)
		in.PushBatch(src)
		out.Flush()
		in.Flush()
		if from.reap() < benchBatch || to.reap() < benchBatch {
			b.Fatal("buffers are missing")
		}
	}
	report(b, start)
}

// copyFrame copies what is in one piece on both sides, short frames without a call.
func copyFrame(dst, src *Chain) {
	to, from := dst.WriteHead(), src.ReadHead()
	n := len(from)
	if n <= 64 && cap(from) >= 64 && len(to) >= 64 {
		*(*[64]byte)(to) = *(*[64]byte)(from[:64])
	} else {
		copy(to, from)
	}
	dst.Wrote(n)
}
