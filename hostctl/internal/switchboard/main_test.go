package switchboard

import (
	"os"
	"testing"

	"picolab/hostctl/internal/leak"
)

func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }
