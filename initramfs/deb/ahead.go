package deb

import (
	"io"
	"sync"
)

// aheadBuffer is the size of the pieces read ahead, aheadDepth how many of
// them may wait.
const (
	aheadBuffer = 256 << 10
	aheadDepth  = 8
)

// ahead is a reader whose source runs in a goroutine of its own, so that
// unpacking and storing use two processors. The goroutine owns the source
// until Close returns.
type ahead struct {
	pieces chan piece
	free   chan []byte
	stop   chan struct{}
	done   sync.WaitGroup
	now    piece
	rest   []byte
}

// piece is what one read gave.
type piece struct {
	buf []byte
	n   int
	err error
}

// readAhead starts reading r. The caller must Close.
func readAhead(r io.Reader) *ahead {
	a := &ahead{pieces: make(chan piece, aheadDepth), free: make(chan []byte, aheadDepth), stop: make(chan struct{})}
	for range aheadDepth {
		a.free <- make([]byte, aheadBuffer)
	}
	a.done.Go(func() { a.fill(r) })
	return a
}

// fill reads until the source ends or the reader is closed.
func (a *ahead) fill(r io.Reader) {
	defer close(a.pieces)
	for {
		select {
		case <-a.stop:
			return
		case buf := <-a.free:
			n, err := readSome(r, buf)
			a.pieces <- piece{buf, n, err} // has room: there are no more buffers than places
			if err != nil {
				return
			}
		}
	}
}

// readSome fills buf as far as the source goes and keeps the source's error.
func readSome(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var k int
		k, err = r.Read(buf[n:])
		n += k
	}
	return n, err
}

// Read implements io.Reader.
func (a *ahead) Read(p []byte) (int, error) {
	for len(a.rest) == 0 {
		if a.now.err != nil {
			return 0, a.now.err
		}
		if a.now.buf != nil {
			a.free <- a.now.buf
		}
		a.now = <-a.pieces
		a.rest = a.now.buf[:a.now.n]
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// Close ends the goroutine and waits for it.
func (a *ahead) Close() error {
	close(a.stop)
	a.done.Wait()
	return nil
}
