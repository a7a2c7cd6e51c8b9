package catalogue

import "time"

// Pace pauses for a time that is part of what a case does, as the documents' scripts sleep between two commands.  It is no
// wait for something: that is [T.Poll].
func (t *T) Pace(d time.Duration) {
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}
