package remote

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// sent writes a stream with one message of each kind.
func sent(t testing.TB, data string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := NewWriter(&b)
	for _, err := range []error{w.Send("run", map[string]int{"n": 1}), w.SendFile("cases/a[x=1]/f", path), w.Send(KindAlive, nil), w.SendFile("empty", os.DevNull)} {
		if err != nil && !strings.Contains(err.Error(), "not a regular file") {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func TestStream(t *testing.T) {
	const data = "line\n{\"kind\":\"end\"}\nno newline"
	r := NewReader(bytes.NewReader(sent(t, data)))
	m, err := r.Next()
	var body struct{ N int }
	if err != nil || m.Kind != "run" || m.Decode(&body) != nil || body.N != 1 {
		t.Fatalf("%+v, %v", m, err)
	}
	m, err = r.Next()
	if err != nil || m.Kind != KindFile || m.Path != "cases/a[x=1]/f" {
		t.Fatalf("%+v, %v", m, err)
	}
	path := filepath.Join(t.TempDir(), "deep", "f")
	if err := m.Save(path); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != data {
		t.Errorf("file %q, %v", b, err)
	}
	if m, err = r.Next(); err != nil || m.Kind != KindAlive || m.Save(path) == nil {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err = r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("end: %v", err)
	}
}

// TestSkippedFile shows that a file nobody wants does not put the stream out of step.
func TestSkippedFile(t *testing.T) {
	r := NewReader(bytes.NewReader(sent(t, strings.Repeat("x", 200<<10))))
	kinds := ""
	for {
		m, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		kinds += m.Kind + " "
	}
	if kinds != "run file alive " {
		t.Errorf("kinds %q", kinds)
	}
}

// TestCutStream shows that a stream that ends anywhere but between two messages is an error.
func TestCutStream(t *testing.T) {
	whole := sent(t, "0123456789")
	clean := 0
	for n := range len(whole) {
		r := NewReader(bytes.NewReader(whole[:n]))
		var err error
		for err == nil {
			_, err = r.Next()
		}
		if errors.Is(err, io.EOF) {
			clean++
		} else if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut at %d: %v", n, err)
		}
	}
	if clean != 3 { // at the start, after the run, after the file
		t.Errorf("%d cuts went unnoticed, want those between messages only", clean)
	}
}

func TestHostileStream(t *testing.T) {
	for name, text := range map[string]string{
		"no JSON":      "hello\n",
		"no kind":      "{}\n",
		"out":          `{"kind":"file","path":"../x","size":1}` + "\nx",
		"absolute":     `{"kind":"file","path":"/etc/passwd","size":1}` + "\nx",
		"folder":       `{"kind":"file","path":".","size":1}` + "\nx",
		"nameless":     `{"kind":"file","size":1}` + "\nx",
		"negative":     `{"kind":"file","path":"x","size":-1}` + "\n",
		"huge file":    `{"kind":"file","path":"x","size":99999999999}` + "\n",
		"endless line": strings.Repeat("x", MaxLine+100<<10),
	} {
		if m, err := NewReader(strings.NewReader(text)).Next(); err == nil {
			t.Errorf("%s: taken as %+v", name, m)
		}
	}
	m, err := NewReader(strings.NewReader(`{"kind":"run","body":"x"}` + "\n")).Next()
	if err != nil || m.Decode(new(int)) == nil {
		t.Errorf("a body of another type: %+v, %v", m, err)
	}
}

// TestSendRefuses shows what a writer does not put on a stream.
func TestSendRefuses(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b)
	for name, err := range map[string]error{
		"no such file":  w.SendFile("x", filepath.Join(t.TempDir(), "none")),
		"a folder":      w.SendFile("x", t.TempDir()),
		"a channel":     w.Send("x", make(chan int)),
		"too much text": w.Send("x", strings.Repeat("x", MaxLine)),
	} {
		if err == nil {
			t.Errorf("%s was sent", name)
		}
	}
	if b.Len() > 0 {
		t.Errorf("stream has %d bytes", b.Len())
	}
}

// TestSendersTakeTurns has many goroutines write: no message is torn.
func TestSendersTakeTurns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, bytes.Repeat([]byte("{\n"), 5000), 0o600); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := NewWriter(&b)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 10 {
				if err := errors.Join(w.Send(KindAlive, i), w.SendFile(fmt.Sprint(i), path)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	r, n := NewReader(&b), 0
	for {
		if _, err := r.Next(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 160 {
		t.Errorf("%d messages, want 160", n)
	}
}

// FuzzReader reads what a broken or hostile host might send: an error or messages, within memory, and no file outside of
// the folder.
func FuzzReader(f *testing.F) {
	f.Add(sent(f, "data"))
	f.Add([]byte(`{"kind":"file","path":"a/../../b","size":3}` + "\nabc"))
	f.Add([]byte(`{"kind":"file","path":"a","size":3}` + "\nab"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := NewReader(bytes.NewReader(data))
		for n := 0; ; n++ {
			m, err := r.Next()
			if err != nil {
				return
			}
			if n > len(data) {
				t.Fatal("more messages than bytes")
			}
			if m.Kind == KindFile && !filepath.IsLocal(m.Path) {
				t.Fatalf("file name %q", m.Path)
			}
		}
	})
}
