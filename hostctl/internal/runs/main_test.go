package runs

import (
	"testing"

	"go.uber.org/goleak"

	"picolab/hostctl/internal/sandbox"
)

func TestMain(m *testing.M) {
	sandbox.Register(sabotageEntry, insideWith(sabotaged))
	sandbox.Register(endsEntry, insideWith(badEnds))
	sandbox.Main()
	goleak.VerifyTestMain(m)
}
