package oops

import (
	"bytes"
	"strings"
	"sync"
	"time"
)

// Bounds of what one scanner keeps.
const (
	maxLine     = 4 << 10
	maxText     = 64 << 10
	maxFindings = 1000 // a kernel that warns in a loop
)

// DefaultGrace is how long text is gathered after a headline: a call trace at 115200 baud needs about 0.3 s.
const DefaultGrace = 500 * time.Millisecond

// Scanner reads a console. Its methods may be called from any goroutine.
type Scanner struct {
	o Options

	mu      sync.Mutex
	partial []byte // the line being received, at most maxLine of it
	taken   bool   // partial was judged before its newline came
	parser  parser
	idle    *time.Timer // judges a partial line that nobody goes on with
	grace   *time.Timer // completes the open finding
	closed  bool

	deliver  sync.Mutex // held while Notify runs, so that findings come in order
	notified int
}

// New makes a scanner. Close it, or its timers may call Notify later.
func New(o Options) *Scanner {
	if o.Grace <= 0 {
		o.Grace = DefaultGrace
	}
	return &Scanner{o: o, parser: parser{allow: o.Allow}}
}

// Scan is all findings of a whole log. Grace and Notify are not used.
func Scan(log []byte, allow ...Allow) []Finding {
	s := New(Options{Allow: allow, Grace: time.Hour})
	_, _ = s.Write(log)
	_ = s.Close()
	return s.Findings()
}

// Write takes console output in any chunks; it never fails. After Close it does nothing.
func (s *Scanner) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return len(p), nil
	}
	for rest := p; len(rest) > 0; {
		line, after, whole := bytes.Cut(rest, []byte{'\n'})
		s.partial = append(s.partial, line[:min(len(line), maxLine-len(s.partial))]...)
		if whole {
			s.endLine()
		}
		rest = after
	}
	s.setTimers()
	return len(p), nil
}

// endLine judges the line unless it was judged when only half of it was there.
func (s *Scanner) endLine() {
	if s.taken {
		s.parser.extend(string(s.partial))
	} else {
		s.parser.line(string(s.partial))
	}
	s.partial, s.taken = s.partial[:0], false
}

// setTimers makes sure that something happens even when the guest writes nothing more.
func (s *Scanner) setTimers() {
	if len(s.partial) > 0 && !s.taken {
		s.idle = reset(s.idle, s.o.Grace, s.judgePartial)
	}
	switch {
	case s.parser.complete() > s.notified:
		if s.grace != nil {
			s.grace.Stop()
		}
		s.grace = time.AfterFunc(0, s.notify)
	case s.parser.open && s.grace == nil:
		s.grace = time.AfterFunc(s.o.Grace, s.expire)
	}
}

// reset starts t, which always runs f, anew.
func reset(t *time.Timer, d time.Duration, f func()) *time.Timer {
	if t == nil {
		return time.AfterFunc(d, f)
	}
	t.Stop()
	t.Reset(d)
	return t
}

// judgePartial treats a line without its newline as whole: a crashed guest may never send one.
func (s *Scanner) judgePartial() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.taken || len(s.partial) == 0 || !s.parser.isHeadline(string(s.partial)) {
		return
	}
	s.parser.line(string(s.partial))
	s.taken = true
	s.setTimers()
}

// expire completes the open finding.
func (s *Scanner) expire() {
	s.mu.Lock()
	s.grace = nil
	s.parser.finish()
	s.mu.Unlock()
	s.notify()
}

// notify tells the complete findings that have not been told yet.
func (s *Scanner) notify() {
	s.deliver.Lock()
	defer s.deliver.Unlock()
	s.mu.Lock()
	complete := s.parser.complete()
	todo := append([]Finding(nil), s.parser.findings[s.notified:complete]...)
	s.notified = complete
	if !s.closed {
		s.grace = nil
		if s.parser.open {
			s.grace = time.AfterFunc(s.o.Grace, s.expire)
		}
	}
	s.mu.Unlock()
	if s.o.Notify == nil {
		return
	}
	for _, f := range todo {
		s.o.Notify(f)
	}
}

// Findings are all findings so far, the last one's text perhaps still growing. Ordered by Index.
func (s *Scanner) Findings() []Finding {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Finding(nil), s.parser.findings...)
}

// Close ends the log: an unfinished last line counts, and all findings are complete and have been told when it returns.
// It must not be called from Notify.
func (s *Scanner) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		for _, t := range []*time.Timer{s.idle, s.grace} {
			if t != nil {
				t.Stop()
			}
		}
		if len(s.partial) > 0 {
			s.endLine()
		}
		s.parser.finish()
	}
	s.mu.Unlock()
	s.notify()
	return nil
}

// clip shortens a line to what a title may be.
func clip(s string) string {
	const longest = 200
	s = strings.TrimSpace(s)
	if len(s) > longest {
		s = strings.ToValidUTF8(s[:longest], "") + "..."
	}
	return s
}
