package virtiouser

import (
	"testing"

	"picolab/hostctl/vhostuser/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }
