package vale

import (
	"encoding/binary"
	"sync/atomic"
)

// ring carries frames from one goroutine to another, in records that lie one behind the other: a head of headSize bytes
// (length u32, Header), the frame, and up to 15 bytes to the next multiple of 16. A record does not wrap: where it would,
// one of length skip fills the rest. Records of small frames are dense, which slots of equal size would not be: those take a
// page and a set of the cache for each frame.
type ring struct {
	buf  []byte // of a power of two
	_    [64]byte
	tail atomic.Uint64 // bytes written, ever
	// The writer's:
	seenHead uint64
	_        [64]byte
	head     atomic.Uint64 // bytes given back, ever
	// The reader's:
	next     uint64 // bytes read, ever
	seenTail uint64
	_        [64]byte
}

const (
	headSize = 16
	skip     = 1<<32 - 1
)

// newRing returns a ring with at least that many bytes, and room for the longest frame.
func newRing(size int) *ring {
	n := 1 << 18
	for n < size {
		n *= 2
	}
	return &ring{buf: make([]byte, n)}
}

func recordSize(n int) int { return (n + headSize + 15) &^ 15 }

// write appends as many frames as there is room for and publishes them at once.
func (r *ring) write(frames []Frame) (n, bytes int) {
	buf, tail := r.buf, r.tail.Load()
	mask := uint64(len(buf) - 1)
	for i := range frames {
		data := frames[i].Data
		need := uint64(recordSize(len(data)))
		off := tail & mask
		if left := uint64(len(buf)) - off; left < need {
			if !r.room(tail, left+need) {
				break
			}
			binary.LittleEndian.PutUint32(buf[off:], skip)
			tail, off = tail+left, 0
		} else if !r.room(tail, need) {
			break
		}
		rec := buf[off:][:need:need]
		binary.LittleEndian.PutUint32(rec, uint32(len(data)))
		*(*[rawHeader]byte)(rec[4:]) = *frames[i].Header.raw()
		copyFrame(rec[headSize:], data)
		tail += need
		n, bytes = n+1, bytes+len(data)
	}
	if n > 0 {
		r.tail.Store(tail)
	}
	return n, bytes
}

// room reports whether the reader has left that many bytes, looking at its word only when it must.
func (r *ring) room(tail, need uint64) bool {
	if tail+need-r.seenHead <= uint64(len(r.buf)) {
		return true
	}
	r.seenHead = r.head.Load()
	return tail+need-r.seenHead <= uint64(len(r.buf))
}

// read fills frames with what has come; they are good until release.
func (r *ring) read(frames []Frame) (n int) {
	buf, next := r.buf, r.next
	mask := uint64(len(buf) - 1)
	for n < len(frames) {
		if next == r.seenTail {
			if r.seenTail = r.tail.Load(); next == r.seenTail {
				break
			}
		}
		off := next & mask
		size := binary.LittleEndian.Uint32(buf[off:])
		if size == skip {
			next += uint64(len(buf)) - off
			continue
		}
		f := &frames[n]
		*f.Header.raw() = *(*[rawHeader]byte)(buf[off+4:])
		f.Data = buf[off+headSize:][:size:size]
		next += uint64(recordSize(int(size)))
		n++
	}
	r.next = next
	return n
}

// release gives back what was read.
func (r *ring) release() {
	if r.next != r.head.Load() {
		r.head.Store(r.next)
	}
}

// empty reports, to the reader, whether nothing has come.
func (r *ring) empty() bool { return r.tail.Load() == r.next }

// copyFrame is copy for frames, most of which are short: two moves that overlap do for up to 64 bytes.
func copyFrame(dst, src []byte) {
	if n := len(src); n >= 32 && n <= 64 && len(dst) >= n {
		a, b := *(*[32]byte)(src), *(*[32]byte)(src[n-32:])
		*(*[32]byte)(dst), *(*[32]byte)(dst[n-32:]) = a, b
		return
	}
	copy(dst, src)
}
