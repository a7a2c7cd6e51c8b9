package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func init() {
	RegisterProgram("picolab-other", func() int {
		fmt.Println("another program", len(os.Args))
		return 7
	})
}

// TestProgram starts a copy of this program under the name of another one.
func TestProgram(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "picolab-other")
	if err := os.Symlink(self, copied); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(copied, "argument").Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 7 || string(out) != "another program 2\n" {
		t.Errorf("%q, %v", out, err)
	}
}

func TestProgramTwice(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("one name stands for two programs")
		}
	}()
	RegisterProgram("picolab-other", nil)
}
