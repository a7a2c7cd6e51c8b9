package runs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"picolab/hostctl/catalogue"
	"picolab/hostctl/internal/probe"
	"picolab/hostctl/internal/remote"
	"picolab/hostctl/report"
)

// program runs a relay until it ends; the end of stdin tells it to stop. The error is of what carries it, or of a relay
// that ended badly.
type program func(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer) error

// errSilent is the cause of a relay that was given up because nothing came any more.
var errSilent = errors.New("no sign of life")

// limits of listening to a relay.
type limits struct {
	silence time.Duration // the longest time without a message
	grace   time.Duration // from being told to stop to being stopped
}

// listen gives a relay its order and each of its messages to handle, until it has ended. When ctx ends it is told to stop
// and its last messages are still taken. The error says why there was no proper end.
func listen(ctx context.Context, run program, o order, l limits, handle func(remote.Message) error) error {
	running, kill := context.WithCancelCause(context.WithoutCancel(ctx))
	defer kill(nil)
	stdin, told := io.Pipe()
	heard, stdout := io.Pipe()
	var stderr tail
	var work sync.WaitGroup
	var ended error // valid once work is done
	work.Go(func() {
		ended = run(running, stdin, stdout, &stderr)
		stdin.Close()
		stdout.Close()
	})
	work.Go(func() { _ = json.NewEncoder(told).Encode(o) }) // a relay that does not read it shows in its end
	stop := context.AfterFunc(ctx, func() {
		told.Close()
		time.AfterFunc(l.grace, func() { kill(context.Cause(ctx)) })
	})
	defer stop()
	silence := time.AfterFunc(l.silence, func() { kill(fmt.Errorf("%w for %v", errSilent, l.silence)) })
	defer silence.Stop()
	err := hear(heard, func(m remote.Message) error {
		silence.Reset(l.silence)
		return handle(m)
	})
	cause := context.Cause(running) // why it was given up, if it was
	told.Close()
	heard.Close()
	if err != nil {
		kill(err)
	}
	work.Wait()
	return verdictOf(err, cause, ended, stderr.text())
}

// verdictOf is the error of a relay: why it was given up, else what went wrong with what it said and how it ended. The end
// of one that has said everything does not matter.
func verdictOf(heard, cause, ended error, stderr string) error {
	var last *endError
	switch {
	case heard == nil:
		return nil
	case cause != nil:
		return cause
	case ended != nil && !errors.As(heard, &last):
		return fmt.Errorf("%w: %w%s", heard, ended, stderr)
	}
	return heard
}

// errCut is a stream without an end.
var errCut = errors.New("the connection ended before the run did")

// hear reads messages up to the end of a relay.
func hear(r io.Reader, handle func(remote.Message) error) error {
	stream := remote.NewReader(r)
	for {
		m, err := stream.Next()
		if err == nil && m.Kind != kindEnd {
			err = handle(m)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return errCut
		}
		if err != nil {
			return err
		}
		if m.Kind != kindEnd {
			continue
		}
		var e end
		if err := m.Decode(&e); err != nil {
			return err
		}
		if e.Error != "" {
			return &endError{e.Error}
		}
		return nil
	}
}

// endError is what a relay gave as the reason of its end: the connection worked.
type endError struct{ text string }

func (e *endError) Error() string { return e.text }

// tail keeps the end of what is written.
type tail struct{ buf []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.buf = append(t.buf, p...)
	t.buf = t.buf[max(0, len(t.buf)-4096):]
	return len(p), nil
}

func (t *tail) text() string {
	if len(t.buf) == 0 {
		return ""
	}
	return "\n" + strings.TrimSpace(string(t.buf))
}

// collector puts what another host sends into a run's folder.
type collector struct {
	dir      string // the run's folder
	job      job
	plan     catalogue.Plan
	results  *report.Writer
	progress *catalogue.Progress
	boot     int  // number of this boot of the host, from 1; labs of the later ones have folders of their own
	booted   bool // that boot succeeded

	done      []string // instances that have a result
	running   string   // instance that was begun and has none
	described bool
	bad       bool // a result that ends a run with --fail-fast
}

// take is a handler of messages.
func (c *collector) take(m remote.Message) error {
	switch m.Kind {
	case remote.KindFile:
		return m.Save(filepath.Join(c.dir, filepath.FromSlash(c.place(m.Path))))
	case kindRun:
		var run report.Run
		if err := m.Decode(&run); err != nil {
			return err
		}
		return c.describe(run)
	case kindEvent:
		var e event
		if err := m.Decode(&e); err != nil {
			return err
		}
		c.show(e)
	case kindResult:
		var r report.Result
		if err := m.Decode(&r); err != nil {
			return err
		}
		return c.keep(r)
	case kindLog:
		var text string
		if err := m.Decode(&text); err != nil {
			return err
		}
		c.progress.Line(text)
	}
	return nil // signs of life, and kinds of a newer relay
}

// place is where a file goes: evidence of an instance has one name whatever ran it, logs of labs would meet other hosts'.
func (c *collector) place(name string) string {
	rest, ok := strings.CutPrefix(name, labsDir+"/")
	if !ok {
		return name
	}
	host := c.job.Kind
	if c.boot > 1 {
		host = fmt.Sprintf("%s-%d", host, c.boot)
	}
	return filepath.Join(labsDir, host, rest)
}

// describe records what is known of the host, once.
func (c *collector) describe(run report.Run) error {
	if c.described {
		return nil
	}
	c.described = true
	return addPart(c.dir, c.job.whole(run))
}

// show passes an event on to the progress.
func (c *collector) show(e event) {
	switch e.What {
	case eventStart:
		c.running = e.Instance
		for _, in := range c.plan.Instances() {
			if in.ID() == e.Instance {
				c.progress.Start(in)
			}
		}
	case eventBooting:
		c.progress.Booting(topologyOf(e))
	case eventBootDone:
		var err error
		if e.Error != "" {
			err = errors.New(e.Error)
		}
		c.progress.BootDone(topologyOf(e), time.Duration(e.Seconds*float64(time.Second)), err)
	}
}

func topologyOf(e event) catalogue.Topology {
	if e.Topology == nil {
		return catalogue.Topology{}
	}
	return *e.Topology
}

func (c *collector) keep(r report.Result) error {
	if !slices.Contains(c.plan.IDs(), r.Instance) || slices.Contains(c.done, r.Instance) {
		return fmt.Errorf("a result of %s, which was not asked for", r.Instance)
	}
	if err := c.results.Add(r); err != nil {
		return err
	}
	c.done = append(c.done, r.Instance)
	c.running = ""
	c.bad = c.bad || !r.Result.Good()
	c.progress.Done(r)
	return nil
}

// over says that nothing is left to run.
func (c *collector) over() bool { return len(c.rest()) == 0 || c.bad && c.job.FailFast }

// rest are the instances without a result.
func (c *collector) rest() []string {
	return slices.DeleteFunc(c.plan.IDs(), func(id string) bool { return slices.Contains(c.done, id) })
}

// fail gives instances the result ERROR: their host failed, which says nothing about them.
func (c *collector) fail(ids []string, host report.Host, reason string, evidence ...string) error {
	if err := c.describe(report.Run{Format: 1, Started: time.Now().UTC(), Host: host}); err != nil {
		return err
	}
	for _, in := range c.plan.Instances() {
		if !slices.Contains(ids, in.ID()) {
			continue
		}
		r := report.Result{Case: in.Case.ID, Instance: in.ID(), Result: report.Error, Reason: reason, Evidence: evidence,
			Host: host, Profile: string(c.plan.Profile), Started: time.Now().UTC()}
		if err := c.keep(r); err != nil {
			return err
		}
	}
	return nil
}

// probes is a handler of messages that waits for a doctor's answers.
func probes(to *[]probe.Probe) func(remote.Message) error {
	return func(m remote.Message) error {
		if m.Kind != kindProbes {
			return nil
		}
		return m.Decode(to)
	}
}
