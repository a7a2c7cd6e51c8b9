package netperf

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
)

// Run does what a command line asks for: the tests, progress and result on stdout, warnings on stderr.
func (o *Options) Run(ctx context.Context, stdout, stderr io.Writer) error {
	if o.Selectors == "?" {
		return writeLine(stdout, strings.Join(SelectorNames(), ","))
	}
	if o.Style != 0 {
		if _, err := selectRows(o.Selectors); err != nil {
			return err
		}
	}
	if o.Headers && !o.JSON {
		if err := writeLine(stdout, o.Banner()); err != nil {
			return err
		}
	}
	out := stdout
	if o.JSON {
		out = stderr
	}
	o.Config.OnInterim = o.interim(out)
	r, err := Measure(ctx, &o.Config, o.Repeat)
	if err != nil {
		return err
	}
	if want := o.Config.Remote.Congestion; want != "" && !r.spec.udp() && want != r.Remote.Congestion {
		fmt.Fprintf(stderr, "netperf: warning: congestion control %q was asked for, the remote side used %q\n", want, r.Remote.Congestion)
	}
	return o.Write(stdout, r)
}

func writeLine(w io.Writer, s string) error {
	if _, err := fmt.Fprintln(w, s); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// interim writes progress as the original does.
func (o *Options) interim(w io.Writer) func(Interim) {
	var mu sync.Mutex
	out := o.output(&Result{spec: o.Config.Test})
	return func(i Interim) {
		mu.Lock()
		defer mu.Unlock()
		rate := float64(i.Units) / i.Span.Seconds()
		switch {
		case out.transactions():
		case o.Config.Test.Direction == RR:
			rate = out.inUnit(8 * rate * float64(o.Config.Request+o.Config.Response))
		default:
			rate = out.inUnit(8 * rate)
		}
		fmt.Fprintf(w, "Interim result: %.2f %s over %.3f seconds ending at %.3f\n", rate, out.throughputUnit(), i.Span.Seconds(), float64(i.At.UnixMilli())/1e3)
	}
}
