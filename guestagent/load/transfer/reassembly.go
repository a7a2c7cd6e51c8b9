package transfer

import (
	"bytes"
	"crypto/sha256"
	"hash"
	"slices"
	"time"
)

const (
	// maxHeld is how many bytes that came too early wait for the missing ones; past it the order is given up.
	maxHeld = 16 << 20
	// maxSerial bounds the record of what came (one bit each): 8 MiB.
	maxSerial = 1 << 26
)

// reassembly accounts for datagrams and hashes their content in order.
type reassembly struct {
	sum   hash.Hash
	store func(hash.Hash, []byte) error

	next   uint64            // serial number hashed next
	held   map[uint64][]byte // content that came before its turn
	bytes  int               // of held
	broken bool              // something is missing for good: no hash
	seen   []uint64          // bit set
	high   uint64            // 1 + highest serial number seen
	fin    bool
	total  uint64 // of a fin
	res    Result
}

func newReassembly(store func(hash.Hash, []byte) error) *reassembly {
	return &reassembly{sum: sha256.New(), store: store, held: make(map[uint64][]byte)}
}

// add takes one datagram; bad is what decoding said of it.
func (r *reassembly) add(d datagram, bad error) error {
	switch {
	case bad != nil:
		r.res.Corrupt++
	case d.kind == kindFin:
		r.fin, r.total, r.res.ExpectedSHA256 = true, d.serial, bytes.Clone(d.content)
	case d.kind == kindData && d.serial < maxSerial:
		return r.data(d)
	}
	return nil
}

func (r *reassembly) data(d datagram) error {
	if !r.mark(d.serial) {
		r.res.Duplicates++
		return nil
	}
	if d.serial+1 < r.high {
		r.res.Reordered++
	}
	r.high = max(r.high, d.serial+1)
	r.res.Datagrams++
	r.res.Bytes += int64(len(d.content))
	if r.broken {
		return nil
	}
	if d.serial > r.next {
		r.hold(d)
		return nil
	}
	return r.advance(d.content)
}

// mark is false for a serial number that was there before.
func (r *reassembly) mark(n uint64) bool {
	if need := int(n/64) + 1; need > len(r.seen) {
		r.seen = slices.Grow(r.seen, need-len(r.seen))[:need]
	}
	w, bit := &r.seen[n/64], uint64(1)<<(n%64)
	if *w&bit != 0 {
		return false
	}
	*w |= bit
	return true
}

func (r *reassembly) hold(d datagram) {
	if r.bytes += len(d.content); r.bytes > maxHeld {
		r.broken, r.held = true, nil
		return
	}
	r.held[d.serial] = bytes.Clone(d.content)
}

// advance stores content whose turn it is, and what waited for it.
func (r *reassembly) advance(b []byte) error {
	for ok := true; ok; {
		if err := r.store(r.sum, b); err != nil {
			return err
		}
		r.next++
		if b, ok = r.held[r.next]; ok {
			delete(r.held, r.next)
			r.bytes -= len(b)
		}
	}
	return nil
}

// complete says whether everything the fin announces is there.
func (r *reassembly) complete() bool { return r.fin && !r.broken && r.next == r.total }

func (r *reassembly) result(elapsed time.Duration, end string) (*Result, error) {
	total := r.high
	if r.fin {
		total, end = r.total, "fin"
	}
	r.res.Lost = max(int64(total)-r.res.Datagrams, 0)
	r.res.Elapsed, r.res.End = elapsed, end
	if r.complete() {
		r.res.Complete, r.res.SHA256 = true, r.sum.Sum(nil)
	}
	return &r.res, nil
}
