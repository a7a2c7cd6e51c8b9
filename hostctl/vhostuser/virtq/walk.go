package virtq

import "encoding/binary"

// descriptor is a private copy of one descriptor.
type descriptor struct {
	addr        uint64
	len         uint32
	flags, next uint16
}

// readDescriptor copies entry i of table, which the driver may be changing: each field is read once.
func readDescriptor(table []byte, i int) descriptor {
	e := table[i*descSize:][:descSize]
	addr, rest := binary.LittleEndian.Uint64(e), binary.LittleEndian.Uint64(e[8:])
	return descriptor{addr, uint32(rest), uint16(rest >> 32), uint16(rest >> 48)}
}

// walk collects the chain that begins at head. It takes at most as many steps as the ring has entries, wherever the
// descriptors are: a driver must not make longer chains (virtio 1.2 section 2.7.5.3.1), so more is a cycle.
func (q *split) walk(c *Chain, head uint16) error {
	table, count, i, indirect := q.desc, q.cfg.Size, int(head), false
	for hops := 0; ; {
		if i >= count {
			return q.broken("descriptor %d beyond a table of %d", i, count)
		}
		d := readDescriptor(table, i)
		if d.flags&flagIndirect != 0 {
			var err error
			if table, count, err = q.indirect(d, indirect); err != nil {
				return err
			}
			i, indirect = 0, true
			continue // at most once: tables do not nest
		}
		if hops++; hops > q.cfg.Size {
			return q.broken("chain at descriptor %d has more than %d steps", head, q.cfg.Size)
		}
		if err := q.take(c, d); err != nil {
			return err
		}
		if d.flags&flagNext == 0 {
			return nil
		}
		i = int(d.next)
	}
}

// take adds the memory of one descriptor to the chain.
func (q *ring) take(c *Chain, d descriptor) error {
	side := &c.in
	if d.flags&flagWrite != 0 {
		side = &c.out
	} else if c.sawOut {
		return q.broken("readable descriptor after a writable one")
	}
	c.sawOut = d.flags&flagWrite != 0
	if c.sawOut && q.cfg.BufferLog != nil {
		c.spans = append(c.spans, span{d.addr, d.len})
	}
	if piece := q.cursor.Piece(d.addr, d.len); piece != nil {
		c.add(side, piece)
		return nil
	}
	return q.takeSplit(c, side, d)
}

// takeSplit is for memory that spans regions, is empty, or is none.
func (q *ring) takeSplit(c *Chain, side *stream, d descriptor) error {
	var room [4][]byte
	segs, err := q.mem.Guest(room[:0], d.addr, uint64(d.len))
	if err != nil {
		return q.broken("descriptor: %v", err)
	}
	for _, s := range segs {
		c.add(side, s)
	}
	return nil
}

// indirect returns the table that d points to and its number of entries.
func (q *ring) indirect(d descriptor, nested bool) ([]byte, int, error) {
	switch {
	case q.cfg.Features&FeatureIndirect == 0:
		return nil, 0, q.broken("indirect descriptor without the feature")
	case nested:
		return nil, 0, q.broken("indirect descriptor in an indirect table")
	case d.flags&flagNext != 0:
		return nil, 0, q.broken("indirect descriptor with a next one")
	case d.len == 0 || d.len%descSize != 0 || d.len > MaxSize*descSize:
		return nil, 0, q.broken("indirect table of %d bytes", d.len)
	}
	var room [4][]byte
	segs, err := q.mem.Guest(room[:0], d.addr, uint64(d.len))
	if err != nil {
		return nil, 0, q.broken("indirect table: %v", err)
	}
	if len(segs) == 1 {
		return segs[0], int(d.len / descSize), nil
	}
	q.scratch = q.scratch[:0]
	for _, s := range segs {
		q.scratch = append(q.scratch, s...)
	}
	return q.scratch, int(d.len / descSize), nil
}
