package vvsock

// Buffer space promised to the guest for each connection, in bytes. A guest whose data nobody reads makes us hold that
// much, so connections beyond the first smallAfter get less: 88 MiB at the worst.
const (
	bufAllocLarge = 256 << 10
	bufAllocSmall = 64 << 10
	smallAfter    = 128
)

// credit is the flow control of one connection, both ways (virtio 1.2 section 5.10.6.3). All counters are totals of bytes
// modulo 2^32.
type credit struct {
	// From guest to host.
	bufAlloc   uint32 // promised to the guest
	received   uint32 // taken from the guest
	forwarded  uint32 // of these, passed on to the host's socket
	advertised uint32 // forwarded, as the guest was told last

	// From host to guest.
	peerAlloc uint32 // what the guest promised
	peerFwd   uint32 // what the guest's reader has consumed
	sent      uint32
}

func newCredit(connections int) credit {
	if connections >= smallAfter {
		return credit{bufAlloc: bufAllocSmall}
	}
	return credit{bufAlloc: bufAllocLarge}
}

// learn takes the guest's side from any packet of the connection.
func (c *credit) learn(h *header) { c.peerAlloc, c.peerFwd = h.bufAlloc, h.fwdCnt }

// free returns how many bytes may be sent to the guest.
func (c *credit) free() int {
	inFlight := c.sent - c.peerFwd
	if inFlight >= c.peerAlloc { // also when the guest claims to have consumed what was never sent
		return 0
	}
	return int(c.peerAlloc - inFlight)
}

// accept takes n bytes from the guest; it reports false if the guest had no credit for them.
func (c *credit) accept(n uint32) bool {
	if n > c.bufAlloc-(c.received-c.forwarded) {
		return false
	}
	c.received += n
	return true
}

// forward notes that n bytes went on to the host's socket, or were given up.
func (c *credit) forward(n int) { c.forwarded += uint32(n) }

// due reports whether the guest should be told of the space it has gained: after each quarter of the buffer, so that it
// never runs dry while the host reads.
func (c *credit) due() bool { return c.forwarded-c.advertised >= c.bufAlloc/4 }

// announce puts our side into a packet for the guest.
func (c *credit) announce(h *header) {
	h.bufAlloc, h.fwdCnt = c.bufAlloc, c.forwarded
	c.advertised = c.forwarded
}
