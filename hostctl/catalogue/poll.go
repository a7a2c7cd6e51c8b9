package catalogue

import (
	"fmt"
	"time"

	"picolab/hostctl/lab"
)

// pollEvery is the time between two looks of [T.Poll].
const pollEvery = 20 * time.Millisecond

// Poll looks again and again until look says that it is done, or the table's
// time for w is over, and returns whether it was done.  It is the only way a
// case waits.
func (t *T) Poll(w lab.Wait, look func() bool) bool { return t.PollFor(t.Timeout(w), look) }

// PollFor is [T.Poll] for at most a time of the case's parameters.
func (t *T) PollFor(d time.Duration, look func() bool) bool {
	deadline := time.NewTimer(d)
	defer deadline.Stop()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for !look() {
		select {
		case <-tick.C:
		case <-deadline.C:
			return false
		case <-t.Context().Done():
			return false
		}
	}
	return true
}

// Await polls until look returns want, then checks that it did.
func Await[V comparable](t *T, name string, w lab.Wait, want V, look func() V) bool {
	var last V
	start := time.Now()
	ok := t.Poll(w, func() bool {
		last = look()
		return last == want
	})
	took := time.Since(start).Round(time.Millisecond)
	return t.Check(name, want, last, ok, fmt.Sprintf("after %v of at most %v", took, t.Timeout(w)))
}
