package catalogue

import (
	"os"
	"slices"
	"testing"
)

func TestOpenDevices(t *testing.T) {
	f, err := os.Open("/dev/zero")
	if err != nil {
		t.Fatal(err)
	}
	if got := openDevices(os.Getpid()); !slices.Contains(got, "/dev/zero") {
		t.Errorf("an open /dev/zero is not in %v", got)
	}
	f.Close()
	if got := openDevices(os.Getpid()); slices.Contains(got, "/dev/zero") {
		t.Errorf("a closed /dev/zero is in %v", got)
	}
	if got := openDevices(1 << 30); len(got) != 0 {
		t.Errorf("no process has %v", got)
	}
}
