package oops

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A headline within this much kernel time and this many lines of the one before it may be its consequence.
const (
	reportSeconds = 2.0
	reportLines   = 120
)

// Allow is a headline, without its time stamp, that is expected.
type Allow = *regexp.Regexp

// parser is the state between lines. It has no clock: the same lines give the same findings.
type parser struct {
	allow    []Allow
	index    int // lines seen
	previous string
	findings []Finding
	open     bool // the last finding still gathers text
	muted    bool // what is gathered belongs to an expected or benign headline
	last     struct {
		kind  Kind
		index int
		at    float64 // kernel time of the headline; -1 when it had none
	}
}

// stamp is printk's time stamp with CONFIG_PRINTK_CALLER's thread or CPU. It may follow what a program wrote to the console
// without a newline.
var stamp = regexp.MustCompile(`\[ *(\d{1,6}\.\d{6})\](?:\[ *[TC]\d+\])? ?`)

// message cuts off the time stamp; at is -1 without one.
func message(line string) (msg string, at float64) {
	line = strings.TrimRight(line, "\r")
	if m := stamp.FindStringSubmatchIndex(line); m != nil {
		at, _ = strconv.ParseFloat(line[m[2]:m[3]], 64)
		return line[m[1]:], at
	}
	return line, -1
}

func (p *parser) isHeadline(line string) bool {
	msg, _ := message(line)
	_, _, ok := match(msg)
	return ok
}

// line takes the next line.
func (p *parser) line(line string) {
	p.index++
	line = strings.TrimRight(line, "\r")
	msg, at := message(line)
	kind, title, ok := match(msg)
	switch {
	case ok && p.refines(kind):
		f := &p.findings[len(p.findings)-1]
		f.Kind, f.Title = kind, title
		p.gather(line)
	case ok && (p.follows(kind, at) || p.open && kind == benign):
		p.gather(line)
	case ok:
		p.begin(Finding{Kind: kind, Title: title, Line: line, Index: p.index}, msg, at)
	default:
		p.gather(line)
		if ends(msg) {
			p.finish()
		}
	}
	p.previous = line
}

// extend replaces the end of the last headline, of which only a part was there before.
func (p *parser) extend(line string) {
	line = strings.TrimRight(line, "\r")
	p.previous = line
	if n := len(p.findings); n > 0 && p.findings[n-1].Index == p.index && !p.muted {
		f := &p.findings[n-1]
		if msg, _ := message(line); p.open {
			if kind, title, ok := match(msg); ok {
				f.Kind, f.Title = kind, title
			}
			f.Text = strings.TrimSuffix(f.Text, f.Line) + line
			f.Line = line
		}
	}
}

// follows says whether a headline is part of the report before it. A panic never is: it is the worst there is.
func (p *parser) follows(kind Kind, at float64) bool {
	if p.last.kind == "" || p.index-p.last.index > reportLines {
		return false
	}
	if at >= 0 && p.last.at >= 0 && (at < p.last.at || at-p.last.at > reportSeconds) {
		return false
	}
	near := p.index-p.last.index <= 2
	switch kind {
	case Panic, Init:
		return false
	case CallTrace:
		return true
	case Warning:
		// What the WARNING is about was said on the line before.
		return near && slices.Contains(causes[Warning], p.last.kind)
	}
	return slices.Contains(causes[kind], p.last.kind)
}

// causes are, for each kind, the kinds of headline it may be the rest of.
var causes = map[Kind][]Kind{
	Fault:       {BUG, KASAN, Fault, Refcount, Panic},
	BUG:         {Refcount},
	Warning:     {NetWatchdog, Refcount, UBSAN, Warning},
	HungTask:    {RCUStall},
	RCUStall:    {RCUStall},
	OOM:         {OOM},
	NetWatchdog: {NetWatchdog},
}

// refines: KASAN explains the fault it is told with.
func (p *parser) refines(kind Kind) bool { return kind == KASAN && p.last.kind == Fault && p.open }

func (p *parser) begin(f Finding, msg string, at float64) {
	p.finish()
	p.last.kind, p.last.index, p.last.at = f.Kind, f.Index, at
	p.muted = p.allowed(msg) || f.Kind == benign || len(p.findings) >= maxFindings
	p.open = !p.muted
	if p.muted {
		return
	}
	f.Text = f.Line
	if strings.Contains(p.previous, cutHere) {
		f.Text = p.previous + "\n" + f.Line
	}
	p.findings = append(p.findings, f)
}

func (p *parser) allowed(msg string) bool {
	for _, re := range p.allow {
		if re.MatchString(msg) {
			return true
		}
	}
	return false
}

func (p *parser) gather(line string) {
	if !p.open {
		return
	}
	f := &p.findings[len(p.findings)-1]
	if len(f.Text)+len(line) < maxText {
		f.Text += "\n" + line
	}
}

// finish completes the open finding.
func (p *parser) finish() {
	if p.open {
		p.open = false
		name(&p.findings[len(p.findings)-1])
	}
}

// complete is how many findings will not change any more.
func (p *parser) complete() int {
	if p.open {
		return len(p.findings) - 1
	}
	return len(p.findings)
}
