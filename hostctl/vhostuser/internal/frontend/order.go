package frontend

// order is what a driver remembers that was promised its buffers in the order in which it makes them available (VIRTIO_F_IN_ORDER,
// virtio 1.2 sections 2.7.9 and 2.8.8): a used buffer may stand for those before it, which were only to be read.
type order struct {
	InOrder bool // accepted
	out     []uint16
	last    uint16 // of those that are used by what was read last
	written int    // to it
	within  bool   // it has not been reached
}

func (o *order) offered(id uint16) {
	if o.InOrder {
		o.out = append(o.out, id)
	}
}

// used returns which buffer comes back and what was written to it, from what the ring says where the next one should be.
func (o *order) used(id uint16, written int) (uint16, int) {
	if !o.InOrder {
		return id, written
	}
	if !o.within {
		o.last, o.written = id, written
	}
	first := o.out[0]
	o.out = o.out[1:]
	if o.within = first != o.last; o.within {
		return first, 0
	}
	return first, o.written
}
