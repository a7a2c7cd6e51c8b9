package leak

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) { Main(m) }

// TestVerdictCanFail leaks a file, then a goroutine.
func TestVerdictCanFail(t *testing.T) {
	before := open()
	if verdict(before) != 0 {
		t.Fatal("a leak where there is none")
	}
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	if verdict(before) == 0 {
		t.Error("an open file was not seen")
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() { <-stop; close(done) }()
	if verdict(before) == 0 {
		t.Error("a goroutine was not seen")
	}
	close(stop)
	<-done
}
