package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"picolab/guestagent/client"
	"picolab/guestagent/load/pcapng"
	"picolab/hostctl/vale"
)

// RecordOptions are for Record. Zero limits are none.
type RecordOptions struct {
	Snaplen int   // bytes of each frame
	Bytes   int64 // of frames written; the rest is not recorded
}

// Record writes every frame that passes a link to w as pcapng, from when it returns until stop is called, which flushes w and
// must be called. A frame is recorded once, as it came from its sender: one that is to be segmented or lacks its checksum
// looks so.
func (l *Lab) Record(ctx context.Context, link string, w io.Writer, o RecordOptions) (stop func(context.Context) (client.CaptureStats, error), err error) {
	n := l.Link(link)
	if n == nil {
		return nil, &SpecError{Problems: []string{fmt.Sprintf("no link is called %q", link)}}
	}
	if n.sw == nil {
		c, err := l.host.Capture(ctx, client.CaptureOptions{Link: n.bridge, Writer: w, Promisc: true, Snaplen: o.Snaplen, Bytes: o.Bytes})
		if err != nil {
			return nil, infra("capture link %s: %w", link, err)
		}
		return c.Stop, nil
	}
	return n.record(w, o)
}

// record is Record of a switch, which has a mirror for that.
func (n *Network) record(w io.Writer, o RecordOptions) (func(context.Context) (client.CaptureStats, error), error) {
	r, err := newRecorder(w, n.Name(), o)
	if err != nil {
		return nil, infra("capture link %s: %w", n.Name(), err)
	}
	if err := n.show(r, true); err != nil {
		return nil, infra("capture link %s: %w", n.Name(), errors.Join(err, r.close()))
	}
	return func(context.Context) (client.CaptureStats, error) {
		err := errors.Join(n.show(r, false), r.close())
		return r.stats(), err
	}, nil
}

// show has the switch's mirror show frames to a recorder, or no more.
func (n *Network) show(r *recorder, on bool) error {
	n.taps.change(r, on)
	if n.taps.empty() {
		return n.sw.Mirror("", nil)
	}
	return n.sw.Mirror("", &n.taps)
}

// fanout shows frames to many.
type fanout struct {
	mu    sync.Mutex
	sinks []*recorder
}

func (f *fanout) change(r *recorder, on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sinks = slices.DeleteFunc(f.sinks, func(s *recorder) bool { return s == r })
	if on {
		f.sinks = append(f.sinks, r)
	}
}

func (f *fanout) empty() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.sinks) == 0
}

// Frame is vale.Sink's.
func (f *fanout) Frame(_ string, _ bool, at time.Time, frame *vale.Frame) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.sinks {
		s.take(at, frame)
	}
}

// A recorder writes frames on a goroutine of its own: the switch does not wait for a disk.
type recorder struct {
	o       RecordOptions
	buf     *bufio.Writer
	w       *pcapng.Writer
	packets chan pcapng.Packet
	done    chan struct{}
	queued  int64 // bytes so far, of frames as they were; the switch's

	written, bytes, largest, dropped atomic.Int64
}

// behind is how many frames the disk may be behind, at most; more are counted as dropped.
const behind = 4096

func newRecorder(w io.Writer, name string, o RecordOptions) (*recorder, error) {
	r := &recorder{o: o, buf: bufio.NewWriter(w), packets: make(chan pcapng.Packet, behind), done: make(chan struct{})}
	var err error
	if r.w, err = pcapng.NewWriter(r.buf, name, o.Snaplen); err != nil {
		return nil, err
	}
	go r.run()
	return r, nil
}

// take copies a frame and leaves it to run.
func (r *recorder) take(at time.Time, f *vale.Frame) {
	if r.o.Bytes > 0 && r.queued+int64(len(f.Data)) > r.o.Bytes {
		return
	}
	data := f.Data
	if r.o.Snaplen > 0 {
		data = data[:min(len(data), r.o.Snaplen)]
	}
	select {
	case r.packets <- pcapng.Packet{Time: at, Data: slices.Clone(data), Length: len(f.Data)}:
		r.queued += int64(len(f.Data))
	default:
		r.dropped.Add(1)
	}
}

// run writes until close. After an error it only counts: Writer's errors stick.
func (r *recorder) run() {
	defer close(r.done)
	for p := range r.packets {
		if r.w.Write(p) != nil {
			r.dropped.Add(1)
			continue
		}
		r.written.Add(1)
		r.bytes.Add(int64(p.Length))
		r.largest.Store(max(r.largest.Load(), int64(p.Length)))
	}
}

// close ends the file, once no frame is shown any more.
func (r *recorder) close() error {
	close(r.packets)
	<-r.done
	s := r.stats()
	return errors.Join(r.w.Close(uint64(s.Packets+s.Dropped), uint64(s.Dropped)), r.buf.Flush())
}

func (r *recorder) stats() client.CaptureStats {
	return client.CaptureStats{Packets: r.written.Load(), Dropped: r.dropped.Load(), Bytes: r.bytes.Load(), Largest: r.largest.Load()}
}
