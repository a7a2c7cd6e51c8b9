package vale

import (
	"math/bits"
	"math/rand/v2"
)

const (
	ways       = 8 // entries of a bucket, which is a cache line
	bucketBits = 14
	buckets    = 1 << bucketBits
	maxPerPort = buckets * ways / 2 // addresses that one port may own, so that it cannot fill the table
	multicast  = 1                  // first bit on the wire, in an address as word loads it
	ageLimit   = 4                  // ticks
	tickEvery  = 60e9               // nanoseconds: so an address is forgotten after four to five minutes
)

// table maps addresses to ports: two-choice hashing over buckets of one cache line, so a lookup touches two lines at most.
// An address is 48 bits, the first byte lowest. An entry is address<<16 | port<<8 | tick of its last use, 0 if free: the
// address 0 is nobody's and never learned.
type table struct {
	lines *[buckets][ways]uint64
	seed  uint64 // so that nobody can make addresses that collide
	now   uint8  // the tick
	moves uint64 // counts changes of what a lookup returns
	owned [256]int
}

func newTable() *table {
	return &table{lines: new([buckets][ways]uint64), seed: rand.Uint64()}
}

// hash returns where an address may be: bits for each of two buckets, and for the place in the first where it is
// looked for first.
func (t *table) hash(mac uint64) uint64 {
	hi, lo := bits.Mul64(mac^t.seed, 0x9e3779b97f4a7c15)
	return hi ^ lo
}

func (t *table) first(h uint64) *[ways]uint64  { return &t.lines[h%buckets] }
func (t *table) second(h uint64) *[ways]uint64 { return &t.lines[h>>bucketBits%buckets] }

// find returns the entry of an address, or nil.
func (t *table) find(mac uint64) *uint64 {
	h := t.hash(mac)
	if e := &t.first(h)[h>>(2*bucketBits)%ways]; *e>>16 == mac {
		return e
	}
	return t.search(mac, h)
}

// search is find for one that is not in its best place.
func (t *table) search(mac, h uint64) *uint64 {
	for _, line := range [...]*[ways]uint64{t.first(h), t.second(h)} {
		for i := range line {
			if line[i]>>16 == mac {
				return &line[i]
			}
		}
	}
	return nil
}

// lookup returns the port of an address.
func (t *table) lookup(mac uint64) (port uint8, ok bool) {
	if e := t.find(mac); e != nil && mac != 0 { // 0 finds free entries
		return uint8(*e >> 8), true
	}
	return 0, false
}

// learn notes that an address is behind a port, and reports whether that is news.
func (t *table) learn(mac uint64, port uint8) bool {
	if mac == 0 || mac&multicast != 0 {
		return false
	}
	entry := mac<<16 | uint64(port)<<8 | uint64(t.now)
	e := t.find(mac)
	if e != nil && uint8(*e>>8) == port {
		if *e != entry {
			*e = entry
		}
		return false
	}
	if e == nil {
		if e = t.room(mac, port); e == nil {
			return false
		}
	}
	t.replace(e, entry)
	return true
}

// room returns a place for a new address of port: a free one in the emptier bucket, its best place if that is free, or that
// of the oldest of its own.
func (t *table) room(mac uint64, port uint8) *uint64 {
	h := t.hash(mac)
	a, b := t.first(h), t.second(h)
	if free(b) > free(a) {
		a, b = b, a
	}
	if t.owned[port] < maxPerPort {
		best := h >> (2 * bucketBits)
		for i := range uint64(ways) {
			if e := &a[(best+i)%ways]; *e == 0 {
				return e
			}
		}
	}
	return t.oldest(port, a, b)
}

func free(line *[ways]uint64) (n int) {
	for _, e := range line {
		if e == 0 {
			n++
		}
	}
	return n
}

func (t *table) oldest(port uint8, lines ...*[ways]uint64) (best *uint64) {
	age := -1
	for _, line := range lines {
		for i, e := range line {
			if e != 0 && uint8(e>>8) == port && int(t.now-uint8(e)) > age {
				best, age = &line[i], int(t.now-uint8(e))
			}
		}
	}
	return best
}

func (t *table) replace(e *uint64, entry uint64) {
	if *e != 0 {
		t.owned[uint8(*e>>8)]--
	}
	if entry != 0 {
		t.owned[uint8(entry>>8)]++
	}
	*e = entry
	t.moves++
}

// forget removes the entries that gone says are gone.
func (t *table) forget(gone func(entry uint64) bool) {
	for i := range t.lines {
		for j, e := range t.lines[i] {
			if e != 0 && gone(e) {
				t.replace(&t.lines[i][j], 0)
			}
		}
	}
}

// tick ages all entries.
func (t *table) tick() {
	t.now++
	t.forget(func(e uint64) bool { return t.now-uint8(e) > ageLimit })
	t.moves++ // ports remember whom they last heard, and must say it again
}

// drop forgets a port.
func (t *table) drop(port uint8) {
	if t.owned[port] != 0 {
		t.forget(func(e uint64) bool { return uint8(e>>8) == port })
	}
	t.moves++
}

// len returns the number of addresses.
func (t *table) len() (n int) {
	for _, k := range t.owned {
		n += k
	}
	return n
}
