package lab

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"

	"picolab/hostctl/internal/follow"
)

// Limits of what a console keeps in memory; the file has everything.
const (
	consoleTail   = 64 << 10 // bytes
	consoleLines  = 25       // lines in a verdict
	readerBacklog = 256      // chunks a slow reader may lag behind before it loses some
)

// readyLine is what a guest's agent writes to the console when it begins to listen. It only saves waiting.
const readyLine = "picolab: agent ready"

// A Console is one guest's serial port. What the guest writes is read from the file that QEMU logs it to, so nothing is
// missed whoever is connected when; what is written to the Console goes to the guest.
type Console struct {
	path string
	sink io.Writer // told everything, in order: the oops scanner
	seen func()    // told whenever the agent's ready line goes by

	mu      sync.Mutex
	conn    net.Conn // to QEMU; nil while it does not run
	tail    []byte
	readers map[chan []byte]struct{}
	closed  bool

	stop context.CancelFunc
	done chan struct{}
}

// openConsole makes the log file and follows it.
func openConsole(path string, sink io.Writer, seen func()) (*Console, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, infra("open console log: %w", err)
	}
	f.Close()
	ctx, stop := context.WithCancel(context.Background())
	c := &Console{path: path, sink: sink, seen: seen, readers: map[chan []byte]struct{}{}, stop: stop, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		follow.Copy(ctx, path, outputOf{c})
	}()
	return c, nil
}

// outputOf takes what the guest writes; it is a type of its own because Console.Write goes the other way.
type outputOf struct{ c *Console }

func (o outputOf) Write(p []byte) (int, error) {
	o.c.sink.Write(p)
	o.c.mu.Lock()
	defer o.c.mu.Unlock()
	o.c.tail = append(o.c.tail, p...)
	if extra := len(o.c.tail) - consoleTail; extra > 0 {
		o.c.tail = append([]byte(nil), o.c.tail[extra:]...)
	}
	if recent := o.c.tail[max(0, len(o.c.tail)-len(p)-len(readyLine)):]; bytes.Contains(recent, []byte(readyLine)) {
		o.c.seen()
	}
	for r := range o.c.readers {
		select {
		case r <- append([]byte(nil), p...):
		default: // too slow: a console must never hold up the guest
		}
	}
	return len(p), nil
}

// connect gives the console an input: QEMU's end of the serial port. What QEMU sends there is dropped, the file has it.
func (c *Console) connect(ctx context.Context, socket string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return fmt.Errorf("connect console: %w", err)
	}
	c.mu.Lock()
	c.conn = conn
	c.mu.Unlock()
	return nil
}

// drain reads QEMU's end until it closes.
func (c *Console) drain() {
	c.mu.Lock()
	conn := c.conn
	c.mu.Unlock()
	io.Copy(io.Discard, conn)
	conn.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == conn {
		c.conn = nil
	}
}

// Write types p into the guest's console.
func (c *Console) Write(p []byte) (int, error) {
	c.mu.Lock()
	conn := c.conn
	c.mu.Unlock()
	if conn == nil {
		return 0, fmt.Errorf("write console: %w", net.ErrClosed)
	}
	return conn.Write(p)
}

// Attach copies the console's last 64 KiB and then all that follows to w until ctx ends, w fails or the console closes.
func (c *Console) Attach(ctx context.Context, w io.Writer) error {
	r := make(chan []byte, readerBacklog)
	c.mu.Lock()
	r <- append([]byte(nil), c.tail...)
	if c.closed {
		close(r)
	} else {
		c.readers[r] = struct{}{}
	}
	c.mu.Unlock()
	defer c.detach(r)
	for {
		select {
		case <-ctx.Done():
			return nil
		case p, ok := <-r:
			if !ok {
				return nil
			}
			if _, err := w.Write(p); err != nil {
				return fmt.Errorf("write console output: %w", err)
			}
		}
	}
}

func (c *Console) detach(r chan []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.readers, r)
}

// LastLines are the last n whole or partial lines, without carriage returns and blank lines.
func (c *Console) LastLines(n int) []string {
	c.mu.Lock()
	text := string(c.tail)
	c.mu.Unlock()
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimRight(line, "\r\n\t "); line != "" {
			lines = append(lines, line)
		}
	}
	return lines[max(0, len(lines)-n):]
}

// close takes what is left in the file and lets all readers go.
func (c *Console) close() {
	c.stop()
	<-c.done
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for r := range c.readers {
		close(r)
		delete(c.readers, r)
	}
	if c.conn != nil {
		c.conn.Close()
	}
}
