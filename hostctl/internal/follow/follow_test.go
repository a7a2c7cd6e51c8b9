package follow

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A pipe makes every write visible to the test in order.
func TestCopyFollows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.WriteString("one\n")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- Copy(ctx, path, w) }()
	for _, want := range []string{"one\n", "two\n", "three\n"} {
		got := make([]byte, len(want))
		if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
			t.Fatalf("read %q, %v, want %q", got, err, want)
		}
		if want != "three\n" {
			f.WriteString(map[string]string{"one\n": "two\n", "two\n": "three\n"}[want])
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("after the context's end: %v", err)
	}
}

func TestCopyTakesTheRest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte("all of it"), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var b bytes.Buffer
	if err := Copy(ctx, path, &b); err != nil || b.String() != "all of it" {
		t.Errorf("got %q, %v", b.String(), err)
	}
}

func TestCopyFails(t *testing.T) {
	if err := Copy(t.Context(), filepath.Join(t.TempDir(), "none"), io.Discard); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}
