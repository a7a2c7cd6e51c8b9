package pktgen

import (
	"errors"
	"fmt"
	"time"
)

// Function is what is to be done.
type Function string

// Functions.
const (
	Rx    Function = "rx"
	Tx    Function = "tx"
	Ping  Function = "ping"
	Pong  Function = "pong"
	TxSeq Function = "txseq"
	RxSeq Function = "rxseq"
)

// sends and receives say which direction the function measures.
func (f Function) sends() bool    { return f == Tx || f == TxSeq }
func (f Function) receives() bool { return f == Rx || f == RxSeq }

// Config is a run.
type Config struct {
	Function Function
	Headers  Headers

	Size    int // of a frame, bytes without the CRC
	MinSize int // 0: all are of Size

	Count   uint64 // frames, of ping round trips; 0 is no end
	Burst   int    // frames at a time; 0 is 512, or 1 of ping and pong
	Threads int
	Rate    int // frames per second of all threads; 0 is as many as possible

	CPU  int // of the first thread, -1 is any; the others follow
	CPUs int // that threads are spread over when CPU is given

	RandomSource, RandomDestination bool
	Rubbish                         bool

	Replay Replay // what to send instead; it is not used by ping

	UntilSilence bool          // receivers end when frames stop coming, once some came
	Silence      time.Duration // for how long they must have stopped; 0 is a second, as in the original
	Interval     time.Duration // between reports
	Dump         func(frame []byte)
	Framing      int // bits per frame that the wire takes beside it; they count in bandwidths
}

// Replay is the frames of a capture file.
type Replay struct {
	Frames [][]byte
	Times  []time.Duration // when each is sent, from the first; nil is at once
	Once   bool            // instead of over and over
}

// burst is the default of the original.
func (c *Config) burst() int {
	switch {
	case c.Burst > 0:
		return c.Burst
	case c.Function == Ping || c.Function == Pong:
		return 1
	}
	return 512
}

// maxThreads keeps a mistyped number from starting threads until memory is gone.
const maxThreads = 256

// Check finds what cannot be.
func (c *Config) Check() error {
	alone := c.Function != Tx && c.Function != Rx
	switch {
	case c.Size < MinFrame || c.Size > MaxFrame:
		return fmt.Errorf("bad pktsize %d [%d..%d]", c.Size, MinFrame, MaxFrame)
	case c.MinSize != 0 && (c.MinSize < MinFrame || c.MinSize > c.Size):
		return fmt.Errorf("bad pktminsize %d [%d..%d]", c.MinSize, MinFrame, c.Size)
	case c.Threads < 1 || c.Threads > maxThreads:
		return fmt.Errorf("bad nthreads %d [1..%d]", c.Threads, maxThreads)
	case alone && c.Threads > 1:
		return fmt.Errorf("can only %s with 1 thread", c.Function)
	case c.Function == Ping && c.Size < headersLen(c.Headers.V6)+stampLen:
		return fmt.Errorf("ping needs frames of at least %d bytes", headersLen(c.Headers.V6)+stampLen)
	case len(c.Replay.Times) > 0 && len(c.Replay.Times) != len(c.Replay.Frames):
		return errors.New("as many times as frames are needed")
	}
	return nil
}

// use is what the port is needed for.
func (c *Config) use() Use {
	both := c.Function == Ping || c.Function == Pong
	u := Use{Send: both || c.Function.sends(), Receive: both || c.Function.receives(), Queues: c.Threads, Size: c.Size}
	for _, f := range c.Replay.Frames {
		u.Size = max(u.Size, len(f))
	}
	return u
}
