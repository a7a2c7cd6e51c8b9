package pktgen

// Sequence is what rxseq found out about the numbers of the frames it got.
type Sequence struct {
	Lost       uint64 `json:"lost"`      // numbers that were skipped and never came
	Late       uint64 `json:"reordered"` // came after a higher number
	Duplicates uint64 `json:"duplicates"`
	Corrupt    uint64 `json:"corrupt"`
	Foreign    uint64 `json:"foreign"`  // no frames of a sequence
	Restarts   uint64 `json:"restarts"` // numbers so far off that a new sender must have begun
}

// window is how far behind the highest number a frame may come to be told late from twice.
const window = 4096

// tracker follows one sequence.
type tracker struct {
	Sequence
	next    uint32 // the number after the highest
	started bool
	seen    [window / 64]uint64 // of the last window numbers, by number modulo window
}

// frame counts one frame.
func (t *tracker) frame(frame []byte) {
	seq, v := readNumber(frame)
	switch v {
	case foreign:
		t.Foreign++
	case corrupt:
		t.Corrupt++
	case sound:
		t.number(seq)
	}
}

// number counts a number. Those half the range ahead and more are behind.
func (t *tracker) number(seq uint32) {
	if !t.started {
		t.started, t.next = true, seq
	}
	switch ahead := int32(seq - t.next); {
	case ahead >= 0:
		t.skip(uint32(ahead))
		t.mark(seq)
		t.next = seq + 1
	case ahead >= -window:
		t.behind(seq)
	default:
		t.Restarts++
		t.next, t.seen = seq, [window / 64]uint64{}
		t.mark(seq)
		t.next++
	}
}

// skip counts n numbers as lost, until they come late.
func (t *tracker) skip(n uint32) {
	t.Lost += uint64(n)
	if n >= window {
		t.seen = [window / 64]uint64{}
		return
	}
	for i := range n {
		seq := t.next + i
		t.seen[seq%window/64] &^= 1 << (seq % 64)
	}
}

func (t *tracker) behind(seq uint32) {
	if t.seen[seq%window/64]&(1<<(seq%64)) != 0 {
		t.Duplicates++
		return
	}
	t.mark(seq)
	t.Late++
	if t.Lost > 0 {
		t.Lost--
	}
}

func (t *tracker) mark(seq uint32) { t.seen[seq%window/64] |= 1 << (seq % 64) }

// add sums the findings of several queues.
func (s *Sequence) add(o Sequence) {
	s.Lost += o.Lost
	s.Late += o.Late
	s.Duplicates += o.Duplicates
	s.Corrupt += o.Corrupt
	s.Foreign += o.Foreign
	s.Restarts += o.Restarts
}
