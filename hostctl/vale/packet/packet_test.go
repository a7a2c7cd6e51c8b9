package packet

import (
	"encoding/binary"
	"os"
	"os/exec"
	"strings"
	"testing"

	"picolab/hostctl/internal/leak"
	"picolab/hostctl/internal/nstest"
	"picolab/hostctl/vale"
	"picolab/hostctl/vale/internal/kerneltest"
)

func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }

// inNamespace runs fn in a network namespace of its own with a veth pair: end "host" has an address, end "port" is for the
// switch.
func inNamespace(t *testing.T, fn func()) {
	t.Helper()
	nstest.Run(t, func() {
		for _, args := range []string{"link add host type veth peer name port", "link set port up mtu 65535", "link set host up",
			"addr add " + kerneltest.Addr + " dev host"} {
			if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
				t.Errorf("ip %s: %v %s", args, err, out)
			}
		}
		fn()
	})
}

func TestKernel(t *testing.T) {
	inNamespace(t, func() {
		p, err := New("port")
		if err != nil {
			t.Error(err)
			return
		}
		kerneltest.Carry(t, p)
	})
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
