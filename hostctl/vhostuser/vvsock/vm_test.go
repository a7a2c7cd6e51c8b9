package vvsock

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"picolab/hostctl/vhostuser/virtq"
)

const bulkSize = 24 << 20

// TestGuest drives the device with Linux's own driver.
func TestGuest(t *testing.T) {
	v := bootVM(t)
	t.Run("Echo", func(t *testing.T) { echoOnce(t, v.dial(t, 1), "hello") })
	t.Run("Hybrid", func(t *testing.T) { guestHybrid(t, v) })
	t.Run("Refused", func(t *testing.T) { guestRefused(t, v) })
	t.Run("GuestDials", func(t *testing.T) { guestDials(t, v) })
	t.Run("BulkToGuest", func(t *testing.T) { bulkToGuest(t, v) })
	t.Run("BulkFromGuest", func(t *testing.T) { bulkFromGuest(t, v) })
	t.Run("SlowReader", func(t *testing.T) { slowReader(t, v) })
	t.Run("GuestCloses", func(t *testing.T) { guestCloses(t, v) })
	t.Run("Thousand", func(t *testing.T) { thousand(t, v) })
	t.Run("NothingLeft", func(t *testing.T) { nothingLeft(t, v) })
	t.Run("Reboot", func(t *testing.T) { reboot(t, v) })
	if s := v.dev.Stats(); s.Dropped != 0 || s.Violations != 0 {
		t.Errorf("an honest guest was taken for a hostile one: %+v", s)
	}
}

// TestGuestPacked drives the device through packed rings with Linux's own driver.
func TestGuestPacked(t *testing.T) {
	v := bootVMWith(t, ",packed=on")
	l := v.dev.loop
	l.mu.Lock()
	features := l.rings[0].Features()
	l.mu.Unlock()
	if features&virtq.FeaturePacked == 0 {
		t.Skip("this QEMU has no packed rings for vhost-user-vsock: 10.0 has")
	}
	t.Run("Echo", func(t *testing.T) { echoOnce(t, v.dial(t, 1), "hello") })
	t.Run("BulkToGuest", func(t *testing.T) { bulkToGuest(t, v) })
	t.Run("BulkFromGuest", func(t *testing.T) { bulkFromGuest(t, v) })
	t.Run("NothingLeft", func(t *testing.T) { nothingLeft(t, v) })
	if s := v.dev.Stats(); s.Dropped != 0 || s.Violations != 0 {
		t.Errorf("an honest guest was taken for a hostile one: %+v", s)
	}
}

func echoOnce(t *testing.T, c io.ReadWriter, text string) {
	t.Helper()
	if _, err := c.Write([]byte(text)); err != nil {
		t.Error(err)
		return
	}
	b := make([]byte, len(text))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != text {
		t.Errorf("echo of %q: %q, %v", text, b, err)
	}
}

func guestHybrid(t *testing.T, v *vm) {
	c, r := v.dialHybrid(t, 1)
	echoOnce(t, struct {
		io.Reader
		io.Writer
	}{r, c}, "through the unix socket")
	_ = c.CloseWrite()
	if b, err := io.ReadAll(r); err != nil || len(b) != 0 {
		t.Errorf("after half-close: %q, %v", b, err)
	}
}

func guestRefused(t *testing.T, v *vm) {
	if _, err := v.dev.Dial(t.Context(), 77); !errors.Is(err, ErrRefused) {
		t.Errorf("dial to a port without listener: %v", err)
	}
	c, err := net.Dial("unix", v.dev.cfg.UDS)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "CONNECT 77\n")
	if b, err := io.ReadAll(c); err != nil || len(b) != 0 {
		t.Errorf("CONNECT to a port without listener: %q, %v", b, err)
	}
}

// guestDials has the guest connect to a port of the host that is served, and to one that is not.
func guestDials(t *testing.T, v *vm) {
	l, err := net.Listen("unix", v.dev.cfg.UDS+"_500")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		line, _ := bufio.NewReader(c).ReadString('\n')
		fmt.Fprintf(c, "host got %s", line)
	}()
	for in, want := range map[string]string{"500 ping\n": "host got ping\n", "501 ping\n": "error: connection reset by peer\n"} {
		c := v.dial(t, 4)
		fmt.Fprint(c, in)
		if got, err := io.ReadAll(c); err != nil || string(got) != want {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
}

// bulkToGuest sends much and half-closes; the answer comes after that, with the digest.
func bulkToGuest(t *testing.T, v *vm) {
	c := v.dial(t, 2)
	data := pattern(bulkSize)
	if _, err := c.Write(data); err != nil {
		t.Fatal(err)
	}
	_ = c.CloseWrite()
	got, err := io.ReadAll(c)
	if want := fmt.Sprintf("%d %x <nil>\n", len(data), sha256.Sum256(data)); err != nil || string(got) != want {
		t.Errorf("guest got %q, %v; want %q", got, err, want)
	}
}

func bulkFromGuest(t *testing.T, v *vm) {
	c := v.dial(t, 3)
	if err := binary.Write(c, binary.LittleEndian, uint64(bulkSize)); err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	n, err := io.Copy(h, c)
	want := sha256.Sum256(pattern(bulkSize))
	if err != nil || n != bulkSize || string(h.Sum(nil)) != string(want[:]) {
		t.Errorf("%d bytes, %v, digest %x; want %x", n, err, h.Sum(nil), want)
	}
}

// pattern is the sequence that the guest's source makes.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i%60000*7) + byte(i/60000)
	}
	return b
}

// slowReader lets one connection's data pile up, which must not hold up another.
func slowReader(t *testing.T, v *vm) {
	slow := v.dial(t, 3)
	if err := binary.Write(slow, binary.LittleEndian, uint64(4<<20)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(200 * time.Millisecond) // long enough to fill what there is to fill
	start := time.Now()
	for i := range 20 {
		echoOnce(t, v.dial(t, 1), fmt.Sprintf("message %d", i))
	}
	t.Logf("20 echoes beside a stuck connection: %v", time.Since(start))
	if n, err := io.Copy(io.Discard, slow); n != 4<<20 || err != nil {
		t.Errorf("slow reader got %d bytes, %v", n, err)
	}
}

func guestCloses(t *testing.T, v *vm) {
	c := v.dial(t, 6)
	_, _ = c.Write([]byte("unread"))
	if b, err := io.ReadAll(c); len(b) != 0 || err != nil {
		t.Errorf("read %q, %v; want the end", b, err)
	}
}

// thousand opens a thousand connections, through both doors, and uses all of them while all are open.
func thousand(t *testing.T, v *vm) {
	conns := make([]io.ReadWriteCloser, 1000)
	var wg sync.WaitGroup
	for w := range 20 {
		wg.Go(func() {
			for i := w; i < len(conns); i += 20 {
				conns[i] = v.open(t, i)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	if n := v.dev.Stats().Connections; n < len(conns) {
		t.Errorf("%d connections open, want %d", n, len(conns))
	}
	for w := range 20 {
		wg.Go(func() {
			for i := w; i < len(conns); i += 20 {
				echoOnce(t, conns[i], strings.Repeat(fmt.Sprint(i), 50))
			}
		})
	}
	wg.Wait()
	for _, c := range conns {
		_ = c.Close()
	}
}

// open connects to the echo service, from goroutines other than the test's.
func (v *vm) open(t *testing.T, i int) io.ReadWriteCloser {
	if i%2 == 0 {
		c, err := v.dev.Dial(t.Context(), 1)
		if err != nil {
			t.Errorf("connection %d: %v", i, err)
			return nil
		}
		return c
	}
	c, err := net.Dial("unix", v.dev.cfg.UDS)
	if err == nil {
		_, err = fmt.Fprintf(c, "CONNECT 1\n")
	}
	if err == nil {
		err = readOK(c)
	}
	if err != nil {
		t.Errorf("connection %d: %v", i, err)
		return nil
	}
	return c
}

// readOK takes the answer line and nothing after it.
func readOK(r io.Reader) error {
	var b [1]byte
	for b[0] != '\n' {
		if _, err := r.Read(b[:]); err != nil {
			return err
		}
	}
	return nil
}

// nothingLeft waits for the guest to have closed its side of everything.
func nothingLeft(t *testing.T, v *vm) {
	for limit := time.Now().Add(10 * time.Second); v.dev.Stats().Connections > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("%d connections left", v.dev.Stats().Connections)
		}
	}
}

// reboot resets the guest: connections end, and new ones work after the next boot.
func reboot(t *testing.T, v *vm) {
	c := v.dial(t, 1)
	echoOnce(t, c, "before")
	v.dial(t, 9)
	if b, err := io.ReadAll(c); len(b) != 0 || err != nil {
		t.Errorf("connection across a reset: %q, %v", b, err)
	}
	v.waitReady(t, 2)
	echoOnce(t, v.dial(t, 1), "after")
}
