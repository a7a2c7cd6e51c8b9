package transfer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"picolab/guestagent/load/getopt"
)

// log is a standard error that tells the address in it.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
	at   chan string
}

var listening = regexp.MustCompile(`listening on \w+ \S+:([0-9]+)`)

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if m := listening.FindSubmatch(b); m != nil {
		l.at <- string(m[1])
	}
	return l.text.Write(b)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// receiver starts the command and returns its port and a function that waits for what it made.
func receiver(t *testing.T, args ...string) (port string, wait func() (out, errs string, err error)) {
	t.Helper()
	var out bytes.Buffer
	errs := &log{at: make(chan string, 1)}
	done := make(chan error, 1)
	args = append(append([]string{"receive"}, args...), "127.0.0.1:0")
	go func() { done <- Command(t.Context(), Stdio{nil, &out, errs}, args) }()
	select {
	case port = <-errs.at:
	case err := <-done:
		t.Fatalf("transfer %q: %v", args, err)
	}
	return port, func() (string, string, error) {
		err := <-done
		return out.String(), errs.String(), err
	}
}

func TestCommand(t *testing.T) {
	in := filepath.Join(t.TempDir(), "in")
	content := strings.Repeat("a line of text\n", 10_000)
	if err := os.WriteFile(in, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, network := range []string{"-v", "-u"} { // -v is TCP with its progress
		for name, args := range map[string][]string{"file": {"-f", in}, "standard input": {}} {
			port, wait := receiver(t, network, "-x", fmt.Sprintf("%x", sum(content)))
			var errs bytes.Buffer
			args = append(append([]string{"send", network, "-r", "100M"}, args...), "127.0.0.1:"+port)
			if err := Command(t.Context(), Stdio{strings.NewReader(content), io.Discard, &errs}, args); err != nil {
				t.Errorf("%s %s: %v\n%s", network, name, err, errs.String())
			}
			out, account, err := wait()
			if hash := fmt.Sprintf("SHA-256 %x\n", sum(content)); err != nil || out != content || !strings.Contains(account, hash) || !strings.Contains(errs.String(), hash) {
				t.Errorf("%s %s: %v, %d bytes\n%s", network, name, err, len(out), account)
			}
		}
	}
}

func sum(s string) []byte {
	r := newReassembly(nil)
	r.sum.Write([]byte(s))
	return r.sum.Sum(nil)
}

func TestCommandJSON(t *testing.T) {
	file := filepath.Join(t.TempDir(), "out")
	port, wait := receiver(t, "-u", "--json", "-f", file)
	if err := Command(t.Context(), Stdio{Err: io.Discard}, []string{"send", "-u", "-b", "100K", "-S", "7", "-d", "500", "-r", "50M", "127.0.0.1:" + port}); err != nil {
		t.Fatal(err)
	}
	_, errs, err := wait()
	var got account
	if jerr := json.Unmarshal([]byte(errs[strings.Index(errs, "{"):]), &got); err != nil || jerr != nil {
		t.Fatalf("%v, %v in %s", err, jerr, errs)
	}
	if got.Bytes != 100<<10 || !got.Complete || got.Datagrams != (100<<10+467)/468 || got.Rate <= 0 || len(got.SHA256) != 64 {
		t.Errorf("%+v", got)
	}
	if fi, err := os.Stat(file); err != nil || fi.Size() != 100<<10 {
		t.Errorf("%v, %v", fi, err)
	}
}

// TestWrongContent: the hash that was asked for is not that of what came.
func TestWrongContent(t *testing.T) {
	port, wait := receiver(t, "-x", strings.Repeat("00", 32))
	if err := Command(t.Context(), Stdio{strings.NewReader("x"), io.Discard, io.Discard}, []string{"send", "127.0.0.1:" + port}); err != nil {
		t.Error(err)
	}
	if _, _, err := wait(); !errors.Is(err, ErrIncomplete) {
		t.Errorf("%v", err)
	}
}

// TestPeerVanishes: a sender that resets the connection, and one that falls silent.
func TestPeerVanishes(t *testing.T) {
	port, wait := receiver(t)
	conn, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = conn.Write([]byte("half of it"))
	_ = conn.(*net.TCPConn).SetLinger(0)
	conn.Close()
	if _, _, err := wait(); !errors.Is(err, ErrIncomplete) || errors.Is(err, getopt.ErrUsage) {
		t.Errorf("reset: %v", err)
	}
	port, wait = receiver(t, "-u", "-w", "0.1")
	if conn, err = net.Dial("udp", "127.0.0.1:"+port); err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	d := datagram{kind: kindData, serial: 3, content: []byte("the fourth")}
	_, _ = conn.Write(d.append(nil))
	if _, errs, err := wait(); !errors.Is(err, ErrIncomplete) || !strings.Contains(errs, "1 datagrams, 3 lost") {
		t.Errorf("silent: %v\n%s", err, errs)
	}
}

// TestInterrupted: the end of the context ends a sender whose input says nothing, and a receiver to whom nobody comes.
func TestInterrupted(t *testing.T) {
	port, wait := receiver(t, "-w", "60")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	silent, end := io.Pipe()
	defer end.Close()
	if err := Command(ctx, Stdio{silent, io.Discard, io.Discard}, []string{"send", "127.0.0.1:" + port}); err == nil {
		t.Error("sender: no error")
	}
	_, _, _ = wait()
	err := Command(ctx, Stdio{nil, io.Discard, io.Discard}, []string{"receive", "-u", "127.0.0.1:0"})
	if !errors.Is(err, ErrIncomplete) {
		t.Errorf("receiver: %v", err)
	}
}

// TestNetcat lets a foreign program be the other end of TCP.
func TestNetcat(t *testing.T) {
	nc, err := exec.LookPath("nc")
	if err != nil {
		t.Skip("nc(1) not installed")
	}
	port, wait := receiver(t)
	cmd := exec.Command(nc, "-N", "127.0.0.1", port)
	cmd.Stdin = strings.NewReader("from nc")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("nc: %v\n%s", err, out)
	}
	if out, errs, err := wait(); err != nil || out != "from nc" {
		t.Errorf("%q, %v\n%s", out, err, errs)
	}
}

func TestUsage(t *testing.T) {
	var out bytes.Buffer
	if err := Command(t.Context(), Stdio{Out: &out}, []string{"--help"}); err != nil || out.String() != Manual() {
		t.Errorf("--help: %v", err)
	}
	for _, args := range []string{"", "move x", "send", "send x", "send -Z h:1", "receive", "receive -w 0 1", "send -b x h:1", "send -b 5 -f x h:1", "send -x 00 h:1", "receive 1 2", "send -d 5 h:1"} {
		if err := Command(t.Context(), Stdio{nil, io.Discard, io.Discard}, strings.Fields(args)); !errors.Is(err, getopt.ErrUsage) {
			t.Errorf("%s: %v", args, err)
		}
	}
	for _, args := range []string{"send -b 5 127.0.0.1:1", "receive 192.0.2.1:1", "send -f /no/such/file 127.0.0.1:1"} {
		if err := Command(t.Context(), Stdio{nil, io.Discard, io.Discard}, strings.Fields(args)); err == nil || errors.Is(err, getopt.ErrUsage) {
			t.Errorf("%s: %v", args, err)
		}
	}
}

func FuzzOptions(f *testing.F) {
	f.Add("-u -f x -b 5K -r 1G -d 1472 -w 0.5 -x 00")
	f.Fuzz(func(t *testing.T, line string) {
		c := new(command)
		_, err := getopt.Parse(strings.Split(line, " "), c.options())
		if err == nil && (c.source.Rate < 0 || c.source.Bytes < 0 || c.sink.Idle < 0 || c.want != nil && len(c.want) != 32) {
			t.Fatalf("%q: %+v", line, c)
		}
	})
}
