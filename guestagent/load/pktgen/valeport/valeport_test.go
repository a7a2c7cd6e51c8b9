package valeport

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"picolab/guestagent/internal/leak"
	"picolab/guestagent/load/pktgen"
)

func TestMain(m *testing.M) {
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		_ = l.Close() // the runtime's poller has descriptors from now on
	}
	os.Exit(leak.Run(m))
}

func TestNames(t *testing.T) {
	if c, err := parse("vale0:01,control=/c,size=256"); err != nil || c != (config{"vale0:01", "/c", ",size=256"}) {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err := parse("vale0:01"); err != nil || c.control != DefaultControl {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := parse("vale0:01,nosuch"); err == nil {
		t.Error("an unknown option was taken")
	}
}

// answering is a control socket that says the same to all, and remembers what it was asked, as the standard library reads it.
func answering(t *testing.T, answer string) (path string, asked <-chan *http.Request) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "c")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	requests, done := make(chan *http.Request, 1), make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			t.Error(err)
			return
		}
		requests <- r
		_, _ = c.Write([]byte(answer))
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return path, requests
}

// TestRefused: what the switch says is told, and nothing is left.
func TestRefused(t *testing.T) {
	before, _ := filepath.Glob(filepath.Join(os.TempDir(), "pkt-gen*"))
	for answer, want := range map[string]string{
		"HTTP/1.0 400 Bad Request\r\n\r\nattach port vale0:1: port exists\n": "port exists",
		"SSH-2.0": "is not HTTP",
		"":        "is not HTTP",
	} {
		path, asked := answering(t, answer)
		_, err := Open(t.Context(), "vale0:1,control="+path, pktgen.Use{Send: true, Queues: 2})
		if err == nil || !strings.Contains(err.Error(), want) || errors.Is(err, ErrNoSwitch) {
			t.Errorf("%q: %v", answer, err)
		}
		r := <-asked
		port := r.FormValue("port")
		if r.Method != http.MethodPost || r.URL.Path != "/attach" || r.FormValue("name") != "vale0:1" ||
			!strings.HasPrefix(port, "memif:/") || !strings.HasSuffix(port, "/memif,server,once,queues=2") {
			t.Errorf("asked %s %s", r.Method, r.URL)
		}
	}
	if _, err := Open(t.Context(), "vale0:1,control="+filepath.Join(t.TempDir(), "none"), pktgen.Use{Send: true, Queues: 1}); !errors.Is(err, ErrNoSwitch) {
		t.Errorf("nobody there: %v", err)
	}
	if after, _ := filepath.Glob(filepath.Join(os.TempDir(), "pkt-gen*")); len(after) != len(before) {
		t.Errorf("folders are left: %q", after)
	}
}

// FuzzAnswer: whatever comes back, it is an error or an agreement.
func FuzzAnswer(f *testing.F) {
	f.Add("HTTP/1.0 204 No Content\r\n\r\n")
	f.Add("HTTP/1. 2\r\n")
	f.Fuzz(func(t *testing.T, answer string) {
		if err := understand(answer); err == nil && !strings.HasPrefix(strings.TrimSpace(answer), "HTTP/1.") {
			t.Errorf("%q is an agreement", answer)
		}
	})
}
