package pktgen

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// printer writes what the original writes: what goes on to the error output, each line with the time, what came of it
// to the output. With json it writes an object a line to the output instead.
type printer struct {
	out, err io.Writer
	o        *Options
	json     bool
	lines    int
	rates    []float64 // of the last intervals, for -A
	failed   error
}

// rateWindow is how many intervals -A looks at.
const rateWindow = 15

// print writes a line to the output.
func (p *printer) print(format string, args ...any) {
	if _, err := fmt.Fprintf(p.out, format+"\n", args...); err != nil && p.failed == nil {
		p.failed = err
	}
}

// note writes a line to the error output in the form of netmap's D macro: the last three digits of the seconds of
// the time, its microseconds, the function, and, where the original has a line of its source, a running number.
func (p *printer) note(function, format string, args ...any) {
	if p.json {
		return
	}
	p.lines++
	t := time.Now()
	line := fmt.Sprintf("%03d.%06d %s [%d] ", t.Unix()%1000, t.Nanosecond()/1000, function, p.lines)
	_, _ = fmt.Fprintf(p.err, line+format+"\n", args...)
}

// norm writes a number with a unit, as the original does.
func (p *printer) norm(v float64) string {
	unit := 0
	for !p.o.plain && v >= 1000 && unit < 4 {
		v /= 1000
		unit++
	}
	return strconv.FormatFloat(v, 'f', 3, 64) + " " + [...]string{"", "K", "M", "G", "T"}[unit]
}

// begin says what is to be done.
func (p *printer) begin(port Port) {
	o := p.o
	if p.json {
		p.object("start", map[string]any{
			"port": o.Port, "kind": port.Kind(), "function": o.Function, "queues": len(port.Queues()), "threads": o.Threads,
			"size": o.Size, "burst": o.burst(), "rate": o.Rate,
		})
		return
	}
	doing := map[bool]string{true: "Sending on", false: "Working on"}[o.Function.sends()]
	if o.Function.receives() {
		doing = "Receiving from"
	}
	p.print("%s %s: %d queues, %d threads and %d cpus.", doing, o.Port, len(port.Queues()), o.Threads, o.CPUs)
	p.note("main", "%s by %s", o.Port, port.Kind())
	if o.Function.sends() {
		p.print("%s -> %s (%s -> %s)", o.source, o.destination, formatMAC(o.Headers.SourceMAC), formatMAC(o.Headers.DestinationMAC))
	}
}

// interval reports an interval.
func (p *printer) interval(i Interval) {
	if p.json {
		p.object("interval", i)
		return
	}
	if i.Times != nil {
		p.trips(i.Times)
		return
	}
	usec := max(i.Elapsed.Microseconds(), 1)
	pps := math.Round(float64(i.Packets) * 1e6 / float64(usec))
	batch := 0.0
	if i.Events > 0 {
		batch = float64(i.Packets) / float64(i.Events)
	}
	bits := float64(i.Bytes)*8 + float64(i.Packets)*float64(p.o.Framing)
	p.note("main_thread", "%spps %s(%spkts %sbps in %d usec) %.2f avg_batch %d min_space",
		p.norm(pps), p.deviation(pps), p.norm(float64(i.Packets)), p.norm(1e6*bits/float64(usec)), usec, batch, 0)
}

// deviation is the mean and the standard deviation of the last rates, of intervals with frames.
func (p *printer) deviation(pps float64) string {
	if !p.o.deviation {
		return ""
	}
	p.rates = append(p.rates, pps)
	p.rates = p.rates[max(len(p.rates)-rateWindow, 0):]
	var sum, squares, n float64
	for _, r := range p.rates {
		if r > 0 {
			sum, squares, n = sum+r, squares+r*r, n+1
		}
	}
	n = max(n, 1)
	mean := sum / n
	return fmt.Sprintf("[avg/std %s/%s pps]", p.norm(mean), p.norm(math.Sqrt(max(squares/n-mean*mean, 0))))
}

func (p *printer) trips(t *Times) {
	p.note("ping_body", "count %d RTT: min %d av %d ns", t.Count, t.Min.Nanoseconds(), t.Mean.Nanoseconds())
	if t.Count == 0 {
		return
	}
	var counts strings.Builder
	for _, n := range t.Buckets {
		fmt.Fprintf(&counts, " %5d", n)
	}
	first := t.FirstBucket
	p.note("ping_body", "k: %d .. %d\n\t%s", uint64(1)<<first, uint64(1)<<(first+len(t.Buckets)-1), counts.String())
}

// summary reports a result.
func (p *printer) summary(r Result) {
	if p.json {
		p.object("summary", summaryOf(p.o, r))
		return
	}
	switch p.o.Function {
	case Ping:
		p.pingSummary(r)
	case Pong:
	default:
		p.rateSummary(r)
	}
	if r.Dropped > 0 {
		p.print("Dropped %d packets that came while there was no room for them.", r.Dropped)
	}
	if s := r.Sequence; s != nil {
		p.print("Sequence: %d lost, %d reordered, %d duplicates, %d corrupt, %d foreign, %d restarts.",
			s.Lost, s.Late, s.Duplicates, s.Corrupt, s.Foreign, s.Restarts)
	}
}

func (p *printer) pingSummary(r Result) {
	t := r.Times
	if r.Packets == 0 {
		return
	}
	p.note("ping_body", "RTT over %d packets: min %d av %d ns", r.Packets, t.Min.Nanoseconds(), t.Mean.Nanoseconds())
	p.print("RTT: %d sent, %d replies, min %d p50 %d p90 %d p99 %d p99.9 %d max %d ns.", r.Packets, t.Count,
		t.Min.Nanoseconds(), t.P50.Nanoseconds(), t.P90.Nanoseconds(), t.P99.Nanoseconds(), t.P999.Nanoseconds(), t.Max.Nanoseconds())
}

func (p *printer) rateSummary(r Result) {
	did := map[bool]string{true: "Sent", false: "Received"}[p.o.Function.sends()]
	if r.Packets == 0 {
		p.print("%s nothing.", did)
		return
	}
	s := summaryOf(p.o, r)
	p.print("%s %d packets %d bytes %d events %d bytes each in %.2f seconds.", did, r.Packets, r.Bytes, r.Events,
		r.Bytes/r.Packets, r.Elapsed.Seconds())
	p.print("Speed: %spps Bandwidth: %sbps (raw %sbps). Average batch: %.2f pkts", p.norm(s.PPS), p.norm(s.BPS), p.norm(s.RawBPS), s.Batch)
}

// Summary is a Result with what follows from it.
type Summary struct {
	Function Function `json:"function"`
	Result
	PPS    float64 `json:"pps"`
	BPS    float64 `json:"bps"`
	RawBPS float64 `json:"raw_bps"` // with framing, of -B
	Batch  float64 `json:"batch"`
	CPU    float64 `json:"cpu_ns_per_packet"`
}

func summaryOf(o *Options, r Result) Summary {
	s := Summary{Function: o.Function, Result: r}
	seconds := max(r.Elapsed.Seconds(), 1e-6)
	s.PPS = float64(r.Packets) / seconds
	s.BPS = 8 * float64(r.Bytes) / seconds
	s.RawBPS = s.BPS + s.PPS*float64(o.Framing)
	if r.Packets > 0 {
		s.Batch = float64(r.Packets) / float64(max(r.Events, 1))
		s.CPU = float64(r.CPU) / float64(r.Packets)
	}
	return s
}

// object writes one line of JSON with its type first.
func (p *printer) object(kind string, v any) {
	b, err := json.Marshal(v)
	if err == nil {
		head := strconv.AppendQuote([]byte(`{"type":`), kind)
		b = slices.Concat(head, []byte(","), b[1:], []byte("\n"))
		_, err = p.out.Write(b)
	}
	if err != nil && p.failed == nil {
		p.failed = err
	}
}

// frame dumps a frame as the original does, without the line about its place in a ring of netmap.
func (p *printer) frame(f []byte) {
	var b strings.Builder
	fmt.Fprintf(&b, "len %5d\n", len(f))
	for i := 0; i < len(f); i += 16 {
		row := f[i:min(i+16, len(f))]
		fmt.Fprintf(&b, "%5d: %-48s", i, strings.TrimRight(fmt.Sprintf("% x ", row), " "))
		for _, c := range row {
			if c < ' ' || c > '~' {
				c = '.'
			}
			b.WriteByte(c)
		}
		b.WriteByte('\n')
	}
	_, _ = io.WriteString(p.err, b.String())
}
