package vvsock

// fifo holds bytes that the host's socket would not take yet. It grows to what the guest has credit for, and lets go of
// its memory when it runs empty.
type fifo struct {
	buf []byte // len is a power of two, or 0
	r   int    // index of the first byte
	n   int    // bytes held
}

const fifoMin = 4096

func (f *fifo) len() int { return f.n }

// add appends p.
func (f *fifo) add(p []byte) {
	f.reserve(len(p))
	w := (f.r + f.n) & (len(f.buf) - 1)
	k := copy(f.buf[w:], p)
	copy(f.buf, p[k:])
	f.n += len(p)
}

func (f *fifo) reserve(n int) {
	size := max(len(f.buf), fifoMin)
	for size < f.n+n {
		size *= 2
	}
	if size == len(f.buf) {
		return
	}
	buf := make([]byte, size)
	a, b := f.peek()
	copy(buf[copy(buf, a):], b)
	f.buf, f.r = buf, 0
}

// peek returns the bytes held, in order, in at most two pieces.
func (f *fifo) peek() (a, b []byte) {
	end := f.r + f.n
	if end <= len(f.buf) {
		return f.buf[f.r:end], nil
	}
	return f.buf[f.r:], f.buf[:end-len(f.buf)]
}

// drop removes the first n bytes.
func (f *fifo) drop(n int) {
	f.n -= n
	if f.n == 0 {
		*f = fifo{}
		return
	}
	f.r = (f.r + n) & (len(f.buf) - 1)
}
