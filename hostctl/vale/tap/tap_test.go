package tap

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"picolab/hostctl/internal/leak"
	"picolab/hostctl/vale"
	"picolab/hostctl/vale/hostip"
)

func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }

const limit = 60 * time.Second

// inNamespace runs fn in a network namespace of its own, or skips.
func inNamespace(t *testing.T, fn func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine, and so does the namespace
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			fn()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Skipf("needs CAP_SYS_ADMIN for a network namespace: %v", err)
	}
}

// kernelAndHost joins the kernel of this namespace (192.0.2.1) and a host with a stack of its own (192.0.2.2).
func kernelAndHost(t *testing.T) (*vale.Switch, *hostip.Host) {
	t.Helper()
	p, err := New("vtap0")
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
		t.Skipf("needs %s: %v", cloneDevice, err)
	}
	if err != nil {
		t.Error(err)
		return nil, nil
	}
	if out, err := exec.Command("ip", "addr", "add", "192.0.2.1/24", "dev", "vtap0").CombinedOutput(); err != nil {
		t.Errorf("ip: %v %s", err, out)
	}
	s, err := vale.New(vale.Options{Logf: t.Logf})
	if err != nil {
		t.Error(err)
		return nil, nil
	}
	h, err := hostip.New(hostip.Options{MAC: net.HardwareAddr{2, 0, 0, 0, 0, 9}, Addrs: []netip.Prefix{netip.MustParsePrefix("192.0.2.2/24")}})
	if err != nil {
		t.Error(err)
		return nil, nil
	}
	if err := errors.Join(s.Attach("tap", p), s.Attach("host", h.Port())); err != nil {
		t.Error(err)
	}
	return s, h
}

// TestKernel carries data between the kernel's IP stack, which leaves checksums and segmentation to us, and another one that
// takes neither: both judge what arrives.
func TestKernel(t *testing.T) {
	inNamespace(t, func() {
		s, h := kernelAndHost(t)
		if s == nil {
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		if _, err := h.Ping(ctx, netip.MustParseAddr("192.0.2.1"), 1000); err != nil {
			t.Error(err)
		}
		l, err := net.Listen("tcp", "192.0.2.1:0")
		if err != nil {
			t.Error(err)
			return
		}
		c, err := h.DialContext(ctx, "tcp", l.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		_ = c.SetDeadline(time.Now().Add(limit))
		echo(t, l, c)
		stats := s.Stats()
		if stats.Ports[1].ToSegments == 0 || stats.Ports[0].FromBad+stats.Ports[1].ToOffload != 0 {
			t.Errorf("the kernel left nothing to be segmented, or nonsense: %+v", stats.Ports)
		}
		if err := errors.Join(c.Close(), l.Close(), s.Close(), h.Close()); err != nil {
			t.Error(err)
		}
	})
}

// echo has the kernel's side of a connection send back what it gets.
func echo(t *testing.T, l net.Listener, c net.Conn) {
	go func() {
		k, err := l.Accept()
		if err != nil {
			return
		}
		defer k.Close()
		data, _ := io.ReadAll(io.LimitReader(k, 3<<20))
		_, _ = k.Write(data)
	}()
	data := bytes.Repeat([]byte("0123456789abcde"), 3<<20/15+1)[:3<<20]
	go func() { _, _ = c.Write(data) }()
	sum := sha256.New()
	if n, err := io.CopyN(sum, c, 3<<20); err != nil {
		t.Errorf("%d bytes came back: %v", n, err)
	}
	if want := sha256.Sum256(data); !bytes.Equal(sum.Sum(nil), want[:]) {
		t.Error("other bytes came back")
	}
}

func TestNewRefuses(t *testing.T) {
	inNamespace(t, func() {
		if _, err := New("a-name-that-is-too-long"); err == nil {
			t.Error("a name of 23 bytes")
		}
		if _, err := New("lo"); err == nil {
			t.Error("a link of another kind")
		}
	})
}
