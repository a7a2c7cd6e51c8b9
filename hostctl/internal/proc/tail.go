package proc

import (
	"io"
	"strings"
	"sync"
)

// Bounds of what is kept of a child's standard error: a child may write gigabytes.
const (
	tailLines = 20
	tailBytes = 8 << 10
)

// tail passes writes on and keeps the end of them.
type tail struct {
	mu   sync.Mutex
	next io.Writer
	buf  []byte
}

func newTail(next io.Writer) *tail { return &tail{next: next} }

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	t.buf = append(t.buf, p[max(0, len(p)-tailBytes):]...)
	if over := len(t.buf) - tailBytes; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	t.mu.Unlock()
	if t.next == nil {
		return len(p), nil
	}
	return t.next.Write(p)
}

// String is the last lines, without the newline at the end.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := strings.Split(strings.TrimRight(string(t.buf), "\r\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}
