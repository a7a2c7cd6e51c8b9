package sandbox

import (
	"os"
	"testing"

	"picolab/hostctl/internal/leak"
)

func TestMain(m *testing.M) {
	Main()
	if role := os.Getenv(roleKey); role != "" {
		os.Exit(playRole(role))
	}
	os.Exit(leak.Run(m))
}
