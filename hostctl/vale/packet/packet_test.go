package packet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"picolab/hostctl/internal/leak"
	"picolab/hostctl/vale"
	"picolab/hostctl/vale/hostip"
)

func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }

const limit = 60 * time.Second

// inNamespace runs fn in a network namespace of its own with a veth pair: end "host" has the address 192.0.2.1, end "port"
// is for the switch.
func inNamespace(t *testing.T, fn func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine, and so does the namespace
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			for _, args := range []string{"link add host type veth peer name port", "link set port up mtu 65535", "link set host up",
				"addr add 192.0.2.1/24 dev host"} {
				if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
					t.Errorf("ip %s: %v %s", args, err, out)
				}
			}
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
	p, err := New("port")
	if err != nil {
		t.Error(err)
		return nil, nil
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
	if err := errors.Join(s.Attach("link", p), s.Attach("host", h.Port())); err != nil {
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
	const size = 3 << 20
	go func() {
		k, err := l.Accept()
		if err != nil {
			return
		}
		defer k.Close()
		data, _ := io.ReadAll(io.LimitReader(k, size))
		_, _ = k.Write(data)
	}()
	data := bytes.Repeat([]byte("0123456789abcde"), size/15+1)[:size]
	go func() { _, _ = c.Write(data) }()
	sum := sha256.New()
	if n, err := io.CopyN(sum, c, size); err != nil {
		t.Errorf("%d bytes came back: %v", n, err)
	}
	if want := sha256.Sum256(data); !bytes.Equal(sum.Sum(nil), want[:]) {
		t.Error("other bytes came back")
	}
}

func TestNewRefuses(t *testing.T) {
	inNamespace(t, func() {
		if p, err := New("nobody"); err == nil {
			t.Error("a link that is not there")
			_ = p.Close()
		}
	})
}

// TestRetag: a tag comes back in its place, and what the header says of places behind it moves.
func TestRetag(t *testing.T) {
	aux := make([]byte, auxSize)
	o := binary.NativeEndian
	o.PutUint32(aux, statusVLAN|statusTPID)
	o.PutUint16(aux[auxTCI:], 0x600a)
	o.PutUint16(aux[auxTPID:], 0x88a8)
	tag, ok := auxTag(aux)
	if !ok || tag != 0x88a8600a {
		t.Fatalf("%#x %v", tag, ok)
	}
	o.PutUint32(aux, statusVLAN)
	if tag, ok = auxTag(aux); !ok || tag != 0x8100600a {
		t.Fatalf("%#x %v", tag, ok)
	}
	frame := append([]byte("aaaaaabbbbbb\x08\x00payload"), 0, 0, 0, 0)
	f := vale.Frame{Header: vale.Header{Flags: vale.NeedsCsum, CsumStart: 34, HdrLen: 54}, Data: frame[:len(frame)-tagSize]}
	retag(&f, tag)
	if string(f.Data) != "aaaaaabbbbbb\x81\x00\x60\x0a\x08\x00payload" || f.Header.CsumStart != 38 || f.Header.HdrLen != 58 {
		t.Errorf("%q %+v", f.Data, f.Header)
	}
	if o.PutUint32(aux, 1); func() bool { _, ok := auxTag(aux); return ok }() {
		t.Error("a tag where there was none")
	}
	short := vale.Frame{Data: []byte("short")}
	if retag(&short, tag); len(short.Data) != 5 {
		t.Error("a tag in what is no frame")
	}
}
