package qemu

import (
	"os"
	"testing"

	"picolab/hostctl/internal/leak"
	"picolab/hostctl/internal/sandbox"
)

func TestMain(m *testing.M) {
	sandbox.Main()
	os.Exit(leak.Run(m))
}
