package switchboard

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"picolab/hostctl/vale"
)

// limit is for QEMU's firmware under emulation on a busy machine.
const limit = 3 * time.Minute

// TestFirmware boots no guest, only QEMU's firmware from its network cards: a virtio-net on vhost-user and an e1000 on a
// stream socket both ask for an address, are offered one, and ask for that, so frames go both ways. Virtio's other drivers
// are judged by the tests that boot guests.
func TestFirmware(t *testing.T) {
	qemu, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		t.Skip("qemu-system-x86_64 not installed")
	}
	dir := t.TempDir()
	b := &Board{}
	b.Options.Logf, b.Switches.Options.Logf = t.Logf, t.Logf
	server := vale.NewPipe(1<<20, 0)
	a, s := filepath.Join(dir, "a"), filepath.Join(dir, "s")
	if err := errors.Join(b.Attach("vale0:1", "vhost-user:"+a), b.Attach("vale0:2", "stream:"+s), b.Switches.Attach("vale0:3", server.Port())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Switches.Close(); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	boot(t, ctx, qemu, a, s)
	asked := map[byte]bool{} // last byte of the address
	frames := make([]vale.Frame, vale.MaxBatch)
	for !asked[1] || !asked[2] {
		if err := server.Wait(ctx); err != nil {
			t.Fatalf("the cards that took an address: %v; %v; %+v", asked, err, b.Status())
		}
		for _, f := range frames[:server.Read(frames)] {
			if answer, mac, took := dhcp(f.Data); answer != nil {
				asked[mac] = asked[mac] || took
				server.Write([]vale.Frame{{Data: answer}})
			}
		}
	}
	if up := b.Status()[0].Ports[0]; up.FromFrames == 0 || up.ToFrames == 0 || up.FromBad != 0 {
		t.Errorf("%+v", up)
	}
}

func boot(t *testing.T, ctx context.Context, qemu, vhost, stream string) {
	cmd := exec.CommandContext(ctx, qemu, "-nodefaults", "-nographic", "-machine", "pc,memory-backend=m", "-accel", "tcg", "-m", "128",
		"-object", "memory-backend-memfd,id=m,size=128M,share=on",
		"-chardev", "socket,id=c,path="+vhost, "-netdev", "vhost-user,chardev=c,id=a",
		"-device", "virtio-net-pci,netdev=a,mac=02:00:00:00:00:01,bootindex=1,vectors=0",
		"-netdev", "stream,id=s,server=off,addr.type=unix,addr.path="+stream,
		"-device", "e1000,netdev=s,mac=02:00:00:00:00:02,bootindex=2")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("QEMU: %s", out.String())
		}
	})
}

// dhcp answers a request (RFC 2131) and returns the last byte of the address it came from, and whether it takes an offer.
func dhcp(b []byte) (answer []byte, mac byte, took bool) {
	const udp, bootp, options = 34, 42, 42 + 240
	if len(b) < options+3 || binary.BigEndian.Uint16(b[12:]) != 0x0800 || b[23] != 17 || binary.BigEndian.Uint16(b[36:]) != 67 {
		return nil, 0, false
	}
	kind := byte(0)
	for o := b[options:]; len(o) > 2 && o[0] != 255; o = o[min(2+int(o[1]), len(o)):] {
		if o[0] == 53 {
			kind = o[2]
		}
	}
	mac = b[11]
	answer = append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9, 8, 0}, make([]byte, options-14)...)
	copy(answer[14:], []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 9, 255, 255, 255, 255, 0, 67, 0, 68})
	copy(answer[bootp:], b[bootp:bootp+240])
	answer[bootp] = 2
	copy(answer[bootp+16:], []byte{192, 0, 2, 10 + mac})
	reply := map[byte]byte{1: 2, 3: 5}[kind]
	answer = append(answer, 53, 1, reply, 54, 4, 192, 0, 2, 9, 51, 4, 0, 0, 14, 16, 1, 4, 255, 255, 255, 0, 255)
	binary.BigEndian.PutUint16(answer[16:], uint16(len(answer)-14))
	binary.BigEndian.PutUint16(answer[udp+4:], uint16(len(answer)-udp))
	sum := uint32(0)
	for i := 14; i < 34; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(answer[i:]))
	}
	binary.BigEndian.PutUint16(answer[24:], ^uint16(sum+sum>>16))
	return answer, mac, kind == 3
}
