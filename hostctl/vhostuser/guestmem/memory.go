package guestmem

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// ErrClosed means that the memory was closed.
var ErrClosed = errors.New("guest memory closed")

// Memory is the guest's memory over time. Its methods may be called from any goroutine.
type Memory struct {
	mu  sync.Mutex // serialises changes
	cur atomic.Pointer[Table]
}

// New returns a memory without regions.
func New() *Memory {
	m := &Memory{}
	m.cur.Store(newTable(nil))
	return m
}

// Acquire returns the current table, which the caller must Release. After Close it is an empty one.
func (m *Memory) Acquire() *Table {
	for {
		t := m.cur.Load()
		if t == nil {
			return newTable(nil)
		}
		if t.tryAcquire() {
			return t
		}
	}
}

// Current reports whether t is still what Acquire would return.
func (m *Memory) Current(t *Table) bool { return m.cur.Load() == t }

// Replace makes regions the whole memory (SET_MEM_TABLE). A region that is already mapped from the same file keeps its
// mapping. On error the memory stays as it was. The descriptors stay the caller's.
func (m *Memory) Replace(regions []Region, fds []int) error {
	if len(regions) != len(fds) || len(regions) > MaxRegions {
		return fmt.Errorf("replace memory: %d regions, %d descriptors: %w", len(regions), len(fds), ErrRegion)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.cur.Load()
	if old == nil {
		return ErrClosed
	}
	var next []*mapping
	for i, r := range regions {
		mp, err := m.mapOrShare(old, r, fds[i])
		if err == nil && conflicts(next, r) {
			mp.release()
			err = fmt.Errorf("region %v overlaps: %w", r, ErrRegion)
		}
		if err != nil {
			releaseAll(next)
			return fmt.Errorf("replace memory: %w", err)
		}
		next = append(next, mp)
	}
	m.publish(next)
	return nil
}

// Add adds a region (ADD_MEM_REG). Adding one that is already there is a no-op: QEMU 7.2 repeats the message for every
// queue pair.
func (m *Memory) Add(r Region, fd int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.cur.Load()
	if old == nil {
		return ErrClosed
	}
	if len(old.regions) >= MaxRegions {
		return fmt.Errorf("add region %v: %d regions already: %w", r, MaxRegions, ErrRegion)
	}
	mp, err := m.mapOrShare(old, r, fd)
	if err != nil {
		return fmt.Errorf("add memory: %w", err)
	}
	if slices.Contains(old.regions, mp) {
		mp.release()
		return nil
	}
	if conflicts(old.regions, r) {
		mp.release()
		return fmt.Errorf("add region %v: overlaps: %w", r, ErrRegion)
	}
	m.publish(append(share(old.regions), mp))
	return nil
}

// Remove removes a region, named by its address and size (REM_MEM_REG).
func (m *Memory) Remove(r Region) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.cur.Load()
	if old == nil {
		return ErrClosed
	}
	same := func(o *mapping) bool {
		return o.GuestAddr == r.GuestAddr && o.Size == r.Size && o.UserAddr == r.UserAddr
	}
	if !slices.ContainsFunc(old.regions, same) {
		return fmt.Errorf("remove region %v: no such region: %w", r, ErrRegion)
	}
	m.publish(share(slices.DeleteFunc(slices.Clone(old.regions), same)))
	return nil
}

// Close drops every region. Tables still held stay valid until they are released.
func (m *Memory) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old := m.cur.Swap(nil); old != nil {
		old.Release()
	}
}

// Sealed reports whether no page of the memory can go away while it is mapped, so that touching it needs no Guard.
func (m *Memory) Sealed() bool {
	t := m.cur.Load()
	return t != nil && !slices.ContainsFunc(t.regions, func(o *mapping) bool { return !o.sealed })
}

func (m *Memory) publish(regions []*mapping) { m.cur.Swap(newTable(regions)).Release() }

// mapOrShare returns a reference to the mapping of r: the old one if r was mapped from this very file.
func (m *Memory) mapOrShare(old *Table, r Region, fd int) (*mapping, error) {
	if o := old.find(r.GuestAddr); o != nil && o.Region == r {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err == nil && o.file == (file{uint64(st.Dev), st.Ino}) {
			o.refs.Add(1)
			return o, nil
		}
	}
	return mapRegion(r, fd)
}

func conflicts(have []*mapping, r Region) bool {
	return slices.ContainsFunc(have, func(o *mapping) bool { return o.overlaps(r) })
}

// share takes one more reference of every region, for a second table.
func share(regions []*mapping) []*mapping {
	for _, m := range regions {
		m.refs.Add(1)
	}
	return slices.Clone(regions)
}

func releaseAll(regions []*mapping) {
	for _, m := range regions {
		m.release()
	}
}
