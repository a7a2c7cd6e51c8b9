package catalogue

import (
	"fmt"
	"io"
	"sync"
	"time"

	"picolab/hostctl/report"
)

// Progress is an [Observer] that writes one line an instance.  On a terminal a
// last line shows what is running and for how long, and is written over.
type Progress struct {
	w        io.Writer
	terminal bool
	color    bool
	total    int

	mu     sync.Mutex
	done   int
	now    string    // what runs; "" when nothing does
	since  time.Time // when it began
	stop   chan struct{}
	ticker sync.WaitGroup
}

// NewProgress begins to write a run of total instances to w.  Close must follow.
func NewProgress(w io.Writer, total int, terminal, color bool) *Progress {
	p := &Progress{w: w, terminal: terminal, color: color, total: total, stop: make(chan struct{})}
	if terminal {
		p.ticker.Go(p.tick)
	}
	return p
}

// Close ends the progress line.
func (p *Progress) Close() {
	close(p.stop)
	p.ticker.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = ""
	p.erase()
}

// eraseLine goes to the line's start and clears it (ECMA-48 CR, EL).
const eraseLine = "\r\x1b[K"

func (p *Progress) tick() {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			p.mu.Lock()
			p.draw()
			p.mu.Unlock()
		case <-p.stop:
			return
		}
	}
}

// draw writes the last line over; p.mu is held.
func (p *Progress) draw() {
	if !p.terminal || p.now == "" {
		return
	}
	fmt.Fprintf(p.w, "%s[%d/%d] %s %ds", eraseLine, p.done+1, p.total, p.now, int(time.Since(p.since).Seconds()))
}

func (p *Progress) erase() {
	if p.terminal {
		io.WriteString(p.w, eraseLine)
	}
}

// show makes what the thing that runs now.
func (p *Progress) show(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now, p.since = what, time.Now()
	p.draw()
}

// Doing shows what goes on beside the cases, until something else does.
func (p *Progress) Doing(what string) { p.show(what) }

// Line writes a line of its own.
func (p *Progress) Line(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	p.now = ""
	fmt.Fprintln(p.w, text)
}

// Start implements [Observer].
func (p *Progress) Start(in Instance) { p.show(in.ID()) }

// Booting implements [Observer].
func (p *Progress) Booting(top Topology) { p.show("boot " + top.String()) }

// BootDone implements [Observer].
func (p *Progress) BootDone(top Topology, took time.Duration, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	end := ""
	if err != nil {
		end = ": failed"
	}
	fmt.Fprintf(p.w, "boot     %-56s %6.1fs%s\n", top, took.Seconds(), end)
}

// Done implements [Observer].
func (p *Progress) Done(r report.Result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	p.done++
	p.now = ""
	verdict := report.Colored(r.Result, fmt.Sprintf("%-8s", r.Result), p.color)
	fmt.Fprintf(p.w, "%s %-56s %6.1fs%s\n", verdict, r.Instance, r.Seconds-r.Boot, because(r))
}

// because is what a progress line says behind the time: the first line of the
// reason of everything that is not a PASS.
func because(r report.Result) string {
	if r.Result == report.Pass {
		return ""
	}
	return "  " + report.FirstLine(r.Reason)
}
