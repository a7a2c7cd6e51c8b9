package guestmem

// Cursor looks up addresses in a Table. It remembers the region that it found last, where the next address is nearly
// always. It must not be used after the Table was released, nor by several goroutines at a time.
type Cursor struct {
	table *Table
	base  uint64 // of the region, guest-physical
	mem   []byte // its bytes
}

// Cursor returns a cursor of the table.
func (t *Table) Cursor() Cursor { return Cursor{table: t} }

// Piece returns the n bytes at guest-physical address addr, or nil if they are not all in one region, or none: Table.Guest
// tells what is wrong with those.
func (c *Cursor) Piece(addr uint64, n uint32) []byte {
	off := addr - c.base
	if end := off + uint64(n); off < end && end <= uint64(len(c.mem)) {
		return c.mem[off:end:end]
	}
	return c.piece(addr, n)
}

// piece moves to another region.
func (c *Cursor) piece(addr uint64, n uint32) []byte {
	m := c.table.find(addr)
	if m == nil || n == 0 || uint64(n) > m.Size-(addr-m.GuestAddr) {
		return nil
	}
	c.base, c.mem = m.GuestAddr, m.mem
	off := addr - m.GuestAddr
	return m.mem[off : off+uint64(n) : off+uint64(n)]
}

// Window returns what the cursor remembers: bytes mem from guest-physical address base on. It is for loops that look up many
// addresses; those outside are for Piece, which may move the window.
func (c *Cursor) Window() (base uint64, mem []byte) { return c.base, c.mem }
