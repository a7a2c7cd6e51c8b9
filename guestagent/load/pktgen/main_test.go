package pktgen

import (
	"net"
	"os"
	"testing"

	"picolab/guestagent/internal/leak"
)

// TestMain fails when goroutines or descriptors are left over.
func TestMain(m *testing.M) {
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		_ = l.Close() // the runtime's poller has descriptors from now on
	}
	os.Exit(leak.Run(m))
}
