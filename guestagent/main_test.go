package guestagent

import (
	"os"
	"testing"

	"picolab/guestagent/internal/leak"
)

// TestMain fails when goroutines or descriptors are left over.
func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }
