package guestmem

import "fmt"

// Shared is a file of the front-end that is mapped for another purpose than being the guest's memory.
type Shared struct{ m *mapping }

// Map maps size bytes at offset of the file. The descriptor stays the caller's. As with guest memory, access belongs inside
// Guard.
func Map(fd int, size, offset uint64) (*Shared, error) {
	m, err := mapRegion(Region{Size: size, Offset: offset}, fd)
	if err != nil {
		return nil, fmt.Errorf("map shared memory: %w", err)
	}
	return &Shared{m}, nil
}

// Bytes returns the memory, which is valid until Close.
func (s *Shared) Bytes() []byte { return s.m.mem }

// Close unmaps it. Closing nil does nothing.
func (s *Shared) Close() {
	if s != nil {
		s.m.release()
	}
}
