package fetch

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
)

// TestPut stores what is right, and leaves nothing of what is not.
func TestPut(t *testing.T) {
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	size, digest, err := s.Put(t.Context(), strings.NewReader("content"), "")
	if err != nil || size != 7 || !s.Has(digest, 7) || s.Verify(t.Context(), digest) != nil {
		t.Fatalf("%d %s %v", size, digest, err)
	}
	if _, _, err := s.Put(t.Context(), strings.NewReader("content"), digest); err != nil {
		t.Errorf("the same again: %v", err)
	}
	if _, _, err := s.Put(t.Context(), strings.NewReader("contents"), digest); err == nil || !strings.Contains(err.Error(), "expected "+digest) {
		t.Errorf("other content: %v", err)
	}
	broken := errors.New("broken")
	if _, _, err := s.Put(t.Context(), io.MultiReader(strings.NewReader("con"), failing{broken}), ""); !errors.Is(err, broken) {
		t.Errorf("a reader that fails: %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, _, err := s.Put(ctx, strings.NewReader("more"), ""); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	if parts, _ := filepath.Glob(filepath.Join(s.Path(), "part", "*")); len(parts) > 0 {
		t.Errorf("left behind: %q", parts)
	}
	if files, _ := filepath.Glob(filepath.Join(s.Path(), "sha256/*/*")); len(files) != 1 {
		t.Errorf("stored: %q", files)
	}
}

type failing struct{ error }

func (f failing) Read([]byte) (int, error) { return 0, f.error }
