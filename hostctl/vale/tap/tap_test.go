package tap

import (
	"errors"
	"os"
	"os/exec"
	"testing"

	"picolab/hostctl/internal/leak"
	"picolab/hostctl/internal/nstest"
	"picolab/hostctl/vale/internal/kerneltest"
)

func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }

func TestKernel(t *testing.T) {
	nstest.Run(t, func() {
		p, err := New("vtap0")
		switch {
		case errors.Is(err, os.ErrNotExist), errors.Is(err, os.ErrPermission):
			t.Skipf("needs %s: %v", cloneDevice, err)
		case err != nil:
			t.Error(err)
			return
		}
		if out, err := exec.Command("ip", "addr", "add", kerneltest.Addr, "dev", "vtap0").CombinedOutput(); err != nil {
			t.Errorf("ip: %v %s", err, out)
		}
		kerneltest.Carry(t, p)
	})
}

func TestNewRefuses(t *testing.T) {
	nstest.Run(t, func() {
		if _, err := New("a-name-that-is-too-long"); err == nil {
			t.Error("a name of 23 bytes")
		}
		if _, err := New("lo"); err == nil {
			t.Error("a link of another kind")
		}
	})
}
