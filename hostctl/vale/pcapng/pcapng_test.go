package pcapng

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"picolab/hostctl/internal/leak"
	"picolab/hostctl/vale"
)

func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }

// arp is a request for an address that ends in n.
func arp(n byte, size int) *vale.Frame {
	b := make([]byte, size)
	copy(b, "\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\x01\x08\x06\x00\x01\x08\x00\x06\x04\x00\x01\x02\x00\x00\x00\x00\x01\xc0\x00\x02\x01")
	copy(b[38:], []byte{192, 0, 2, n})
	return &vale.Frame{Data: b}
}

// TestTcpdump has tcpdump read what was written: frames of all paddings, times to the nanosecond.
func TestTcpdump(t *testing.T) {
	if _, err := exec.LookPath("tcpdump"); err != nil {
		t.Skip("tcpdump not installed")
	}
	path := filepath.Join(t.TempDir(), "x.pcapng")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := New(f)
	at := time.Unix(1700000000, 123456789)
	for i := range 8 {
		w.Frame([]string{"one", "another port"}[i%2], i%3 == 0, at.Add(time.Duration(i)), arp(byte(100+i), 60+i))
	}
	if err := errors.Join(w.Close(), f.Close()); err != nil || w.Dropped() != 0 {
		t.Fatal(err, w.Dropped())
	}
	out, err := exec.CommandContext(t.Context(), "tcpdump", "-r", path, "-n", "-tt", "--nano").Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != 8 {
		t.Fatalf("%d lines\n%s", len(lines), out)
	}
	for i, line := range lines {
		if !strings.HasPrefix(line, "1700000000.1234567") || !strings.Contains(line, "who-has 192.0.2.10"+string('0'+rune(i))) {
			t.Errorf("line %d: %s", i, line)
		}
	}
	if !strings.HasPrefix(lines[0], "1700000000.123456789 ") {
		t.Error(lines[0])
	}
}

// stuck is a file that takes nothing until it is closed.
type stuck struct{ open chan struct{} }

func (s stuck) Write(b []byte) (int, error) {
	<-s.open
	return 0, errors.New("no space left")
}

// TestSlowFile: a file that hangs costs frames, not time; a failure is told.
func TestSlowFile(t *testing.T) {
	s := stuck{make(chan struct{})}
	w := New(s)
	for range 200 {
		w.Frame("x", false, time.Now(), &vale.Frame{Data: bytes.Repeat([]byte{1}, 60000)})
	}
	if n := w.Dropped(); n < 100 || n > 199 {
		t.Errorf("%d dropped", n)
	}
	close(s.open)
	if err := w.Close(); err == nil {
		t.Error("no error")
	}
}
