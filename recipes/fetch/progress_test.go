package fetch

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

func TestProgressOnTerminal(t *testing.T) {
	var out bytes.Buffer
	p := NewProgress(&out)
	p.terminal = true
	p.start([]Item{{Size: 1000, SHA256: "a"}, {Size: 500, SHA256: "b"}})
	p.set("a", 200)
	p.grow("a", 800)
	p.Logf("news")
	p.set("b", 500)
	p.set("b", 0) // started again
	p.grow("b", 500)
	p.stop()
	if !strings.Contains(out.String(), "\r") || !strings.Contains(out.String(), "news\n") {
		t.Errorf("no bar or no news in %q", out.String())
	}
	if !strings.Contains(out.String(), "fetch: 0.0 of 0.0 MB in 2 files") || p.done != p.total {
		t.Errorf("%d of %d in %q", p.done, p.total, out.String())
	}
}

// TestProgressLines: what a resumed download had before does not count as speed, and a line comes every two seconds.
func TestProgressLines(t *testing.T) {
	var out bytes.Buffer
	p := NewProgress(&out)
	p.start([]Item{{Size: 30e6, SHA256: "a"}})
	p.set("a", 10e6)
	p.grow("a", 10e6)
	if out.Len() > 0 {
		t.Errorf("too early: %q", out.String())
	}
	if got, want := p.line(p.began.Add(5*time.Second)), "fetch: 20.0 of 30.0 MB in 1 files, 2.0 MB/s"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	p.printd = p.printd.Add(-lineEvery)
	p.grow("a", 1)
	if got := strings.Count(out.String(), "\n"); got != 1 {
		t.Errorf("%d lines: %q", got, out.String())
	}
}

func TestNilProgress(t *testing.T) {
	var p *Progress
	p.start(nil)
	p.set("a", 1)
	p.grow("a", 1)
	p.Logf("x")
	p.stop()
}

// TestIdleTimeout: a body that stands still ends the request; one that moves, however slowly, does not.
func TestIdleTimeout(t *testing.T) {
	const limit = time.Second // generous: the machine may be busy
	for _, c := range []struct {
		name  string
		every time.Duration
		bytes int
		want  error
	}{{"moves", limit / 10, 15, nil}, {"stands still", 5 * limit, 2, errIdle}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx, idle := withIdleTimeout(context.Background(), limit)
			defer idle.stop()
			r, w := io.Pipe()
			go func() {
				for range c.bytes {
					select {
					case <-ctx.Done():
						w.CloseWithError(ctx.Err())
						return
					case <-time.After(c.every):
						if _, err := w.Write([]byte{1}); err != nil {
							return
						}
					}
				}
				w.Close()
			}()
			_, err := io.Copy(io.Discard, idle.reader(r))
			if err = idle.cause(err); !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
		})
	}
}
