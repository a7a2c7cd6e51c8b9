package guestmem

import (
	"cmp"
	"fmt"
	"slices"
	"sync/atomic"
)

// Table is an immutable set of mapped regions. It stays valid until its holder calls Release.
type Table struct {
	regions []*mapping // sorted by guest-physical address
	refs    atomic.Int32
}

// newTable takes over one reference of every region.
func newTable(regions []*mapping) *Table {
	slices.SortFunc(regions, func(a, b *mapping) int { return cmp.Compare(a.GuestAddr, b.GuestAddr) })
	t := &Table{regions: regions}
	t.refs.Store(1)
	return t
}

// tryAcquire takes a reference unless the table is already dead.
func (t *Table) tryAcquire() bool {
	for {
		n := t.refs.Load()
		if n == 0 {
			return false
		}
		if t.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Release gives the table back. No slice obtained from it may be touched afterwards.
func (t *Table) Release() {
	if t.refs.Add(-1) != 0 {
		return
	}
	for _, m := range t.regions {
		m.release()
	}
}

// Regions returns the number of regions.
func (t *Table) Regions() int { return len(t.regions) }

// find returns the region that holds the guest-physical address, or nil.
func (t *Table) find(addr uint64) *mapping {
	lo, hi := 0, len(t.regions)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if m := t.regions[mid]; addr < m.GuestAddr {
			hi = mid
		} else if addr-m.GuestAddr >= m.Size {
			lo = mid + 1
		} else {
			return m
		}
	}
	return nil
}

// Guest appends to dst the memory behind the n bytes at guest-physical address addr, one slice for each region touched,
// and returns the extended dst. The whole range is checked (CVE-2018-1059), and the address even when n is 0
// (CVE-2020-10725); with n 0 nothing is appended. On error dst is returned as it was.
func (t *Table) Guest(dst [][]byte, addr, n uint64) ([][]byte, error) {
	m := t.find(addr)
	if m == nil {
		return dst, fmt.Errorf("guest address %#x length %d: %w", addr, n, ErrRange)
	}
	off := addr - m.GuestAddr
	if n <= m.Size-off { // nearly always
		if n == 0 {
			return dst, nil
		}
		return append(dst, m.mem[off:off+n:off+n]), nil
	}
	return t.split(dst, addr, n)
}

// split collects a range that spans adjoining regions.
func (t *Table) split(dst [][]byte, addr, n uint64) ([][]byte, error) {
	out, at, left := dst, addr, n
	for left > 0 {
		m := t.find(at)
		if m == nil {
			return dst, fmt.Errorf("guest address %#x length %d: %w", addr, n, ErrRange)
		}
		off := at - m.GuestAddr
		k := min(left, m.Size-off)
		out = append(out, m.mem[off:off+k:off+k])
		at, left = at+k, left-k // region ends do not overflow, so neither does at
	}
	return out, nil
}

// User returns the n bytes at address addr of the front-end's own address space. They must lie within one region, as
// rings do.
func (t *Table) User(addr, n uint64) ([]byte, error) {
	for _, m := range t.regions {
		if addr < m.UserAddr || addr-m.UserAddr >= m.Size {
			continue
		}
		off := addr - m.UserAddr
		if n > m.Size-off {
			break
		}
		return m.mem[off : off+n : off+n], nil
	}
	return nil, fmt.Errorf("user address %#x length %d: %w", addr, n, ErrRange)
}

// GuestAddr returns the guest-physical address of what is at address addr of the front-end's own address space.
func (t *Table) GuestAddr(addr uint64) (uint64, error) {
	for _, m := range t.regions {
		if addr >= m.UserAddr && addr-m.UserAddr < m.Size {
			return m.GuestAddr + (addr - m.UserAddr), nil
		}
	}
	return 0, fmt.Errorf("user address %#x: %w", addr, ErrRange)
}

// Read copies len(p) bytes at guest-physical address addr into p.
func (t *Table) Read(p []byte, addr uint64) error {
	var room [4][]byte
	segs, err := t.Guest(room[:0], addr, uint64(len(p)))
	for _, s := range segs {
		p = p[copy(p, s):]
	}
	return err
}

// Write copies p to guest-physical address addr.
func (t *Table) Write(p []byte, addr uint64) error {
	var room [4][]byte
	segs, err := t.Guest(room[:0], addr, uint64(len(p)))
	for _, s := range segs {
		p = p[copy(s, p):]
	}
	return err
}
