package netmap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"picolab/guestagent/internal/leak"
	"picolab/guestagent/load/pktgen"
)

func TestMain(m *testing.M) {
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		_ = l.Close() // the runtime's poller has descriptors from now on
	}
	os.Exit(leak.Run(m))
}

func TestNames(t *testing.T) {
	for name, want := range map[string]string{
		"eth0": "eth0 1 0", "eth0-2": "eth0 4 2", "eth0^": "eth0 2 0", "eth0*": "eth0 3 0", "vale0:1": "vale0:1 1 0", "pipe{1": "pipe{1 1 0",
		"": "empty", "^": "empty", "eth0-x": "not a number", strings.Repeat("n", 64): "too long",
	} {
		r, err := parseName(name)
		got := fmt.Sprintf("%s %d %d", r.name, r.mode, r.ring)
		if err != nil {
			got = err.Error()
		}
		if got != want && (err == nil || !strings.Contains(got, want)) {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
}

// TestRequest pins the bytes of a registration against the structures of net/netmap.h as a C compiler lays them out.
func TestRequest(t *testing.T) {
	h := header("eth0", 0x1122334455667788)
	if len(h) != 88 || h[0] != 14 || h[2] != 1 || string(h[8:12]) != "eth0" || binary.LittleEndian.Uint64(h[80:]) != 0x1122334455667788 {
		t.Errorf("header %x", h)
	}
	b := request{mode: modeOne, ring: 3}.body()
	if len(b) != 56 || binary.LittleEndian.Uint16(b[34:]) != 3 || binary.LittleEndian.Uint32(b[36:]) != 4 {
		t.Errorf("body %x", b)
	}
}

func TestMissingModule(t *testing.T) {
	if _, err := os.Stat(Device); err == nil {
		t.Skip("this kernel has netmap")
	}
	if _, err := Open(t.Context(), "eth0", pktgen.Use{Queues: 1}); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "no netmap module") {
		t.Errorf("%v", err)
	}
}

// kernel is the other side of rings: what is sent on a transmit ring comes on the receive ring of the same number.
type kernel struct {
	m    *mapping
	slow bool // what was sent is not given back
	fail error
}

const (
	fakeSlots  = 8
	fakeBuffer = 2048
	fakeRings  = 2 // and one of the host's, of each direction
	ringSpace  = 512
)

// newKernel lays the memory out as the module does: the interface, the rings, the buffers.
func newKernel() *kernel {
	const rings = 2 * (fakeRings + 1)
	const buffers = 4096 + rings*ringSpace
	memory := make([]byte, buffers+rings*fakeSlots*fakeBuffer)
	n := binary.NativeEndian
	const iface = 64
	for off, v := range map[int]uint32{ifTxRings: fakeRings, ifRxRings: fakeRings, ifHostTxRings: 1, ifHostRxRings: 1} {
		n.PutUint32(memory[iface+off:], v)
	}
	for i := range rings {
		at := 4096 + i*ringSpace
		n.PutUint64(memory[iface+ifRingOffsets+8*i:], uint64(at-iface))
		n.PutUint64(memory[at+ringBuffers:], uint64(buffers-at))
		n.PutUint32(memory[at+ringSlots:], fakeSlots)
		n.PutUint32(memory[at+ringBufSize:], fakeBuffer)
		if i <= fakeRings {
			n.PutUint32(memory[at+ringTail:], fakeSlots-1)
		}
		for s := range fakeSlots {
			n.PutUint32(memory[at+ringSlotBase+s*slotLen:], uint32(i*fakeSlots+s))
		}
	}
	return &kernel{m: &mapping{fd: -1, memory: memory, offset: iface}}
}

func (k *kernel) ring(i int) *ring {
	r, err := newRing(k.m.memory, 4096+i*ringSpace)
	if err != nil {
		panic(err)
	}
	return r
}

// sync moves frames from transmit to receive rings by swapping buffers.
func (k *kernel) sync(_ int, request uintptr) error {
	if request != ioctlTxSync {
		return k.fail
	}
	for i := range fakeRings + 1 {
		tx, rx := k.ring(i), k.ring(i+fakeRings+1)
		for at := (load(tx.memory, tx.at+ringTail) + 1) % fakeSlots; at != tx.head && !k.slow; at = (at + 1) % fakeSlots {
			tail := load(rx.memory, rx.at+ringTail)
			from := tx.memory[tx.at+ringSlotBase+int(at)*slotLen:][:slotLen]
			to := rx.memory[rx.at+ringSlotBase+int(tail)*slotLen:][:slotLen]
			for b := range 6 { // number and length
				from[b], to[b] = to[b], from[b]
			}
			store(rx.memory, rx.at+ringTail, (tail+1)%fakeSlots)
			store(tx.memory, tx.at+ringTail, at)
		}
	}
	return k.fail
}

// open makes a queue of the fake.
func (k *kernel) open(t *testing.T, r request) *queue {
	t.Helper()
	q, err := k.m.queue(r)
	if err != nil {
		t.Fatal(err)
	}
	q.sync = k.sync
	return q
}

func TestFramesThroughRings(t *testing.T) {
	for _, r := range []request{{mode: modeAll}, {mode: modeHost}, {mode: modeOne, ring: 1}, {mode: modeBoth}} {
		q := newKernel().open(t, r)
		for round := range 20 {
			sent := make([][]byte, 5)
			n, err := q.Reserve(sent)
			if n != 5 || err != nil {
				t.Fatalf("%+v, round %d: reserved %d, %v", r, round, n, err)
			}
			for i := range sent {
				sent[i] = sent[i][:copy(sent[i], fmt.Sprintf("frame %d of round %d", i, round))]
			}
			if err := q.Send(sent); err != nil {
				t.Fatal(err)
			}
			got := make([][]byte, 10)
			n, err = q.Receive(got)
			if n != 5 || err != nil || string(got[4]) != fmt.Sprintf("frame 4 of round %d", round) {
				t.Fatalf("%+v, round %d: received %d %q, %v", r, round, n, got, err)
			}
			if err := q.Release(); err != nil {
				t.Fatal(err)
			}
			if n, err := q.Receive(got); n != 0 || err != nil {
				t.Fatalf("received %d again, %v", n, err)
			}
		}
	}
}

func TestFullRing(t *testing.T) {
	k := newKernel()
	k.slow = true
	q := k.open(t, request{mode: modeOne})
	frames := make([][]byte, 100)
	n, _ := q.Reserve(frames)
	if n != fakeSlots-1 {
		t.Fatalf("%d slots free", n)
	}
	for i := range n {
		frames[i] = frames[i][:60]
	}
	if err := q.Send(frames[:n]); err != nil {
		t.Fatal(err)
	}
	if n, err := q.Reserve(frames); n != 0 || err != nil {
		t.Errorf("%d more, %v", n, err)
	}
	if pending, err := q.Flush(); pending != fakeSlots-1 || err != nil {
		t.Errorf("%d pending, %v", pending, err)
	}
	k.fail = unix.ENXIO
	if _, err := q.Reserve(frames); !errors.Is(err, unix.ENXIO) {
		t.Errorf("a port that is gone: %v", err)
	}
}

// TestBrokenMemory has the kernel's structures point outside the memory.
func TestBrokenMemory(t *testing.T) {
	for _, off := range []int{64 + ifRingOffsets, 4096 + ringSlots, 4096 + ringBuffers} {
		k := newKernel()
		copy(k.m.memory[off:], slices.Repeat([]byte{0x7f}, 4))
		if _, err := k.m.queue(request{mode: modeAll}); err == nil {
			t.Errorf("offset %d: taken", off)
		}
	}
	k := newKernel()
	q := k.open(t, request{mode: modeOne})
	binary.NativeEndian.PutUint32(k.m.memory[4096+ringSlotBase:], 1<<30)
	if _, err := q.Reserve(make([][]byte, 1)); err == nil {
		t.Error("a buffer outside the memory")
	}
}
