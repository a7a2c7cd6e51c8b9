package guestmem

import "fmt"

// LogPage is the number of bytes that a bit of a Log stands for (VHOST_LOG_PAGE).
const LogPage = 4096

// Log is the bitmap, shared with the front-end, of the guest's pages that were written: the page at guest-physical address
// a is bit a/4096%8 of byte a/4096/8. The front-end clears bits and copies pages while others are set, so a page is marked
// after it was written, whether or not its bit is set already.
//
// The front-end may shrink the file: Mark belongs inside Guard. A nil Log marks nothing. Mark may be called from any
// goroutine, but not after Close.
type Log struct {
	m     *mapping
	words []byte // whole words
	pages uint64 // that there are bits for
}

// OpenLog maps the log of size bytes at offset of the file, a multiple of 8. The descriptor stays the caller's.
func OpenLog(fd int, size, offset uint64) (*Log, error) {
	r := Region{Size: size, Offset: offset}
	if offset%8 != 0 || size > 1<<48 {
		return nil, fmt.Errorf("open log %v: %w", r, ErrRegion)
	}
	m, err := mapRegion(r, fd)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	// The last word may reach beyond the log, but not beyond its page.
	words := m.raw[m.skip:][:(size+3)&^3]
	return &Log{m: m, words: words, pages: 8 * size}, nil
}

// Mark sets the bits of the pages that hold the n bytes at guest-physical address addr. What lies beyond the log is not
// marked: its size is the front-end's business.
func (l *Log) Mark(addr, n uint64) {
	if l == nil || n == 0 {
		return
	}
	page, last := addr/LogPage, (addr+n-1)/LogPage
	if addr+n-1 < addr {
		last = ^uint64(0) / LogPage
	}
	if page >= l.pages {
		return
	}
	last = min(last, l.pages-1)
	for ; page < last&^31; page = page&^31 + 32 {
		or32(l.words, int(page/32*4), ^uint32(0)<<(page%32))
	}
	or32(l.words, int(page/32*4), ^uint32(0)<<(page%32)&(^uint32(0)>>(31-last%32)))
}

// Close unmaps the log.
func (l *Log) Close() {
	if l != nil {
		l.m.release()
	}
}
