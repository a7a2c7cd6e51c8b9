package lab

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func newConsole(t *testing.T, sink io.Writer) (*Console, *os.File, *atomic.Int32) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "console.log")
	var ready atomic.Int32
	c, err := openConsole(path, sink, func() { ready.Add(1) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return c, f, &ready
}

// until polls a condition that another goroutine brings about.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func TestConsoleLastLines(t *testing.T) {
	var sink bytes.Buffer
	c, f, ready := newConsole(t, &sink)
	f.WriteString("one\r\n\r\ntwo\r\npicolab: agent re")
	f.WriteString("ady\r\nlast")
	until(t, "last line", func() bool { l := c.LastLines(1); return len(l) == 1 && l[0] == "last" })
	if got := c.LastLines(3); !slices.Equal(got, []string{"two", "picolab: agent ready", "last"}) {
		t.Errorf("last lines %q", got)
	}
	if ready.Load() != 1 {
		t.Errorf("ready line seen %d times", ready.Load())
	}
	c.close()
	if !strings.HasSuffix(sink.String(), "ready\r\nlast") {
		t.Errorf("sink got %q", sink.String())
	}
}

func TestConsoleAttach(t *testing.T) {
	c, f, _ := newConsole(t, io.Discard)
	f.WriteString("before ")
	until(t, "first text", func() bool { return len(c.LastLines(1)) == 1 })
	r, w := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Attach(ctx, w) }()
	for _, want := range []string{"before ", "after"} {
		got := make([]byte, len(want))
		if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
			t.Fatalf("got %q, %v, want %q", got, err, want)
		}
		if want == "before " {
			f.WriteString("after")
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestConsoleAttachEndsWithConsole(t *testing.T) {
	c, _, _ := newConsole(t, io.Discard)
	done := make(chan error, 1)
	go func() { done <- c.Attach(t.Context(), io.Discard) }()
	c.close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := c.Attach(t.Context(), io.Discard); err != nil {
		t.Errorf("attach to a closed console: %v", err)
	}
	if _, err := c.Write([]byte("x")); err == nil {
		t.Error("wrote to a console without a guest")
	}
}

// A reader that does not read must not stop the others, the scanner or the guest.
func TestConsoleSlowReader(t *testing.T) {
	var sink bytes.Buffer
	c, f, _ := newConsole(t, &sink)
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- c.Attach(t.Context(), w) }()
	line := strings.Repeat("x", 1000) + "\n"
	for range 2 * readerBacklog {
		f.WriteString(line)
	}
	f.WriteString("end")
	until(t, "the end", func() bool { return slices.Equal(c.LastLines(1), []string{"end"}) })
	r.Close()
	<-done
	c.close()
	if want := 2*readerBacklog*len(line) + 3; sink.Len() != want {
		t.Errorf("scanner got %d bytes of %d", sink.Len(), want)
	}
	if len(c.tail) > consoleTail {
		t.Errorf("%d bytes kept, limit %d", len(c.tail), consoleTail)
	}
}
