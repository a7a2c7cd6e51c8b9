package qemu

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"time"
)

// wireLog writes the messages of a connection for people to read. Its errors are nobody's: a log must not stop a lab.
type wireLog struct {
	mu    sync.Mutex
	w     io.Writer
	start time.Time
}

func newWireLog(w io.Writer) *wireLog { return &wireLog{w: w, start: time.Now()} }

func (l *wireLog) line(direction string, message []byte) {
	if l.w == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.w, "%.3f %s %s\n", time.Since(l.start).Seconds(), direction, bytes.TrimSpace(message))
}
