package netperf

import (
	"math"
	"time"

	"picolab/guestagent/load/histogram"
)

// counts is what one side did. A call on a datagram socket is a datagram.
type counts struct {
	BytesSent, BytesReceived uint64
	SendCalls, RecvCalls     uint64
	FailedSends              uint64 // datagrams that the system did not take
	Transactions             uint64
}

// latencies are the times of transactions, or of send or receive calls in a stream test.
type latencies struct {
	histogram.Histogram
	squares float64 // sum of the squares, ns²
}

func (l *latencies) add(d time.Duration) {
	l.Add(d)
	l.squares += float64(d) * float64(d)
}

// deviation is the standard deviation of the sample.
func (l *latencies) deviation() time.Duration {
	n, mean := float64(l.Count()), float64(l.Mean())
	if n < 2 {
		return 0
	}
	return time.Duration(math.Sqrt(max(l.squares-n*mean*mean, 0) / (n - 1)))
}
