package verbs

import (
	"time"

	"picolab/guestagent/wire"
)

// minProgress is the shortest time between two reports of progress.
const minProgress = 20 * time.Millisecond

// tell calls report every so often, as long as the client keeps up, until the function it returns is called. 0 is never.
func tell(everyMs int64, credit *wire.Credit, report func() error) (stop func()) {
	if everyMs <= 0 {
		return func() {}
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(max(time.Duration(min(everyMs, 1<<31))*time.Millisecond, minProgress))
		defer ticker.Stop()
		for {
			select {
			case <-quit:
				return
			case <-ticker.C:
			}
			if credit.Try() && report() != nil {
				return // the client is gone, which ends the call
			}
		}
	}()
	return func() { close(quit); <-done }
}
