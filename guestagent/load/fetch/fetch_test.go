package fetch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"picolab/guestagent/load/getopt"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// content is bytes that are the same every time.
func content(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// serve serves data with Go's own server, by connections that wrap may spoil.
func serve(t *testing.T, data []byte, wrap func(net.Conn) net.Conn) string {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}))
	if wrap != nil {
		s.Listener = listener{s.Listener, wrap}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s.URL + "/file"
}

type listener struct {
	net.Listener
	wrap func(net.Conn) net.Conn
}

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.wrap(c), nil
}

// broken is a connection that ends after some bytes, or says nothing more.
type broken struct {
	net.Conn
	left *atomic.Int64
	mute bool
}

var errBroken = errors.New("broken")

func (b broken) Write(p []byte) (int, error) {
	if b.left.Add(-int64(len(p))) > 0 {
		return b.Conn.Write(p)
	}
	if b.mute {
		return len(p), nil
	}
	n, _ := b.Conn.Write(p[:len(p)/2])
	b.Conn.Close()
	return n, errBroken
}

// breaking makes connections that break after so many bytes each.
func breaking(after int64, mute bool) func(net.Conn) net.Conn {
	return func(c net.Conn) net.Conn {
		left := new(atomic.Int64)
		left.Store(after)
		return broken{c, left, mute}
	}
}

func TestFetch(t *testing.T) {
	for name, tt := range map[string]struct {
		size, connections int
		wrap              func(net.Conn) net.Conn
		idle              time.Duration
		retries           bool
	}{
		"one connection":                   {size: 1<<20 + 7, connections: 1},
		"ten connections":                  {size: 3<<20 + 1, connections: 10},
		"less than a range":                {size: 5, connections: 4},
		"connections end in the middle":    {size: 1 << 20, connections: 3, wrap: breaking(100_000, false), retries: true},
		"connections say nothing any more": {size: 1 << 20, connections: 3, wrap: breaking(300_000, true), idle: 50 * time.Millisecond, retries: true},
	} {
		t.Run(name, func(t *testing.T) {
			data := content(tt.size)
			file := filepath.Join(t.TempDir(), "file")
			res, err := Fetch(t.Context(), Options{URL: serve(t, data, tt.wrap), File: file, Connections: tt.connections, Range: 64 << 10, Idle: tt.idle})
			if err != nil {
				t.Fatal(err)
			}
			want := sha256.Sum256(data)
			got, err := os.ReadFile(file)
			if err != nil || !bytes.Equal(got, data) || res.Bytes != int64(tt.size) || res.SHA256 != hex.EncodeToString(want[:]) {
				t.Errorf("%+v, %v; want %d bytes, SHA-256 %x", res, err, tt.size, want)
			}
			if (res.Retries > 0) != tt.retries {
				t.Errorf("%d retries", res.Retries)
			}
		})
	}
}

// TestUnexpected shows that an answer that no second try mends ends a download, and what it says.
func TestUnexpected(t *testing.T) {
	for answer, want := range map[string]string{
		"HTTP/1.1 404 Not Found\r\n\r\n":                                                                 "404 Not Found",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx":                                                  "200 OK",
		"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 5-9/10\r\nContent-Length: 5\r\n\r\n01234":  "begins at 5",
		"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-4/x\r\n\r\n":                             "bytes 0-4/x",
		"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-4/10\r\n\r\n":                            "no length",
		"HTTP/1.1 206 Partial Content\r\nX: " + strings.Repeat("x", 70_000) + "\r\n\r\n":                 "a line of more than",
		"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-4/10\r\nContent-Length: no\r\n\r\n01234": "Content-Length",
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Write([]byte(answer))
			c.Read(make([]byte, 1000))
			c.Close()
		}()
		_, err = Fetch(t.Context(), Options{URL: "http://" + l.Addr().String() + "/", File: filepath.Join(t.TempDir(), "f")})
		l.Close()
		<-done
		if !errors.Is(err, errAnswer) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v; want %q", answer, err, want)
		}
	}
}

// TestNobody shows that a download gives up when its time is over, and says why it could not.
func TestNobody(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + l.Addr().String() + "/x"
	l.Close()
	_, err = Fetch(t.Context(), Options{URL: url, File: filepath.Join(t.TempDir(), "f"), Timeout: 250 * time.Millisecond})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("%v", err)
	}
}

func TestCommand(t *testing.T) {
	data := content(1000)
	file := filepath.Join(t.TempDir(), "f")
	var out bytes.Buffer
	if err := Command(t.Context(), &out, []string{"-k", "3", "-w1", "-W", "5", "-o", file, serve(t, data, nil)}); err != nil {
		t.Fatal(err)
	}
	var res Result
	if err := json.Unmarshal(out.Bytes(), &res); err != nil || res.SHA256 != fmt.Sprintf("%x", sha256.Sum256(data)) {
		t.Errorf("%s: %v", out.Bytes(), err)
	}
	for _, args := range [][]string{{}, {"a", "b"}, {"-k"}, {"-k", "x", "http://h/"}, {"-w", "0", "http://h/"}} {
		if err := Command(t.Context(), &out, args); !errors.Is(err, getopt.ErrUsage) {
			t.Errorf("%q: %v", args, err)
		}
	}
	for _, url := range []string{"https://h/", "http://", "http://h/a b", "h"} {
		if err := Command(t.Context(), &out, []string{"-o", file, url}); err == nil {
			t.Errorf("%q is taken", url)
		}
	}
}
