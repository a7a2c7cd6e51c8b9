package vvsock

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"picolab/hostctl/vhostuser/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

func TestHeader(t *testing.T) {
	var b [headerSize]byte
	for i := range b {
		b[i] = byte(i + 1)
	}
	h := parseHeader(&b)
	if h.srcCID != 0x0807060504030201 || h.len != 0x1c1b1a19 || h.op != 0x201f || h.fwdCnt != 0x2c2b2a29 {
		t.Errorf("%+v", h)
	}
	var back [headerSize]byte
	h.put(&back)
	if back != b {
		t.Errorf("%x, want %x", back, b)
	}
}

func TestCreditToGuest(t *testing.T) {
	tests := []struct {
		alloc, fwd, sent uint32
		want             int
	}{
		{100, 0, 0, 100},
		{100, 0, 100, 0},
		{100, 40, 100, 40},
		{100, 100, 100, 100},
		{100, 0xfffffff0, 0x10, 100 - 0x20}, // around 2^32
		{50, 0, 100, 0},                     // the guest shrank its buffer
		{100, 200, 100, 0},                  // the guest claims to have read what was never sent
		{0, 0, 0, 0},
		{0xffffffff, 0, 0, 0xffffffff},
	}
	for _, tt := range tests {
		c := credit{sent: tt.sent}
		c.learn(&header{bufAlloc: tt.alloc, fwdCnt: tt.fwd})
		if got := c.free(); got != tt.want {
			t.Errorf("%+v: %d", tt, got)
		}
	}
}

func TestCreditFromGuest(t *testing.T) {
	c := newCredit(0)
	c.received, c.forwarded, c.advertised = 0xfffffff0, 0xfffffff0, 0xfffffff0 // around 2^32
	if !c.accept(bufAllocLarge) || c.accept(1) {
		t.Error("the promise is not what was kept")
	}
	c.forward(bufAllocLarge/4 - 1)
	if c.due() {
		t.Error("update due too early")
	}
	c.forward(1)
	if !c.due() {
		t.Error("update not due after a quarter")
	}
	var h header
	c.announce(&h)
	if c.due() || h.bufAlloc != bufAllocLarge || h.fwdCnt != bufAllocLarge/4-0x10 {
		t.Errorf("announced %+v", h)
	}
	if !c.accept(bufAllocLarge/4) || c.accept(1) {
		t.Error("forwarded bytes do not make room")
	}
	if newCredit(MaxConnections).bufAlloc >= newCredit(0).bufAlloc {
		t.Error("many connections may use as much as few")
	}
}

// FuzzCredit runs both directions against a model with unbounded counters.
func FuzzCredit(f *testing.F) {
	f.Add([]byte{0, 255, 1, 255, 2, 9}, uint32(0))
	f.Add([]byte{3, 200, 4, 200, 3, 1, 3, 255, 4, 100}, uint32(0xffffff00))
	f.Fuzz(func(t *testing.T, ops []byte, start uint32) {
		c := credit{bufAlloc: 1 << 12, received: start, forwarded: start, advertised: start, sent: start, peerFwd: start}
		c.learn(&header{bufAlloc: 1 << 12, fwdCnt: start})
		var received, forwarded, sent, consumed uint64
		for i := 0; i+1 < len(ops); i += 2 {
			n := uint64(ops[i+1]) << (ops[i] >> 4)
			switch ops[i] & 7 {
			case 0, 1: // the guest sends, within its credit or not
				want := received-forwarded+n <= 1<<12
				if c.accept(uint32(n)) != want {
					t.Fatalf("accept %d: want %v", n, want)
				}
				if want {
					received += n
				}
			case 2: // the host reads
				n = min(n, received-forwarded)
				c.forward(int(n))
				forwarded += n
			case 3, 4: // the host sends as much as it may
				if want := 1<<12 - (sent - consumed); uint64(c.free()) != want {
					t.Fatalf("free %d, want %d", c.free(), want)
				}
				n = min(n, uint64(c.free()))
				c.sent += uint32(n)
				sent += n
			default: // the guest reads
				consumed += min(n, sent-consumed)
				c.learn(&header{bufAlloc: 1 << 12, fwdCnt: start + uint32(consumed)})
			}
		}
	})
}

// FuzzFifo compares with bytes.Buffer.
func FuzzFifo(f *testing.F) {
	f.Add([]byte{255, 255, 3, 255, 0, 1})
	f.Add([]byte{10, 5, 10, 5, 255, 200, 255, 255})
	f.Fuzz(func(t *testing.T, ops []byte) {
		var q fifo
		var want bytes.Buffer
		for i, op := range ops {
			if i%3 != 2 {
				p := bytes.Repeat([]byte{op, byte(i)}, int(op)*7)
				q.add(p)
				want.Write(p)
			} else {
				n := min(int(op)*20, want.Len())
				if n > 0 {
					q.drop(n)
				}
				want.Next(n)
			}
			a, b := q.peek()
			if got := append(bytes.Clone(a), b...); !bytes.Equal(got, want.Bytes()) || q.len() != want.Len() {
				t.Fatalf("step %d: %d bytes, want %d", i, len(got), want.Len())
			}
		}
	})
}

func TestParseConnect(t *testing.T) {
	tests := []struct {
		in   string
		port uint32
		n    int
		ok   bool
	}{
		{"CONNECT 1024\n", 1024, 13, true},
		{"CONNECT 0\n", 0, 10, true},
		{"CONNECT 4294967295\nrest", 4294967295, 19, true},
		{"CONNECT 00000000000000000000042\n", 42, 32, true},
		{"", 0, 0, true},
		{"CON", 0, 0, true},
		{"CONNECT 10", 0, 0, true},
		{"CONNECT 4294967296\n", 0, 0, false},
		{"CONNECT -1\n", 0, 0, false},
		{"CONNECT +1\n", 0, 0, false},
		{"CONNECT 0x10\n", 0, 0, false},
		{"CONNECT 1_0\n", 0, 0, false},
		{"CONNECT  1\n", 0, 0, false},
		{"CONNECT 1 \n", 0, 0, false},
		{"CONNECT 1\r\n", 0, 0, false},
		{"CONNECT \n", 0, 0, false},
		{"CONNECT\n", 0, 0, false},
		{"connect 1\n", 0, 0, false},
		{"\n", 0, 0, false},
		{"GET / HTTP", 0, 0, false},
		{"X", 0, 0, false},
		{"CONNECT " + strings.Repeat("0", 24), 0, 0, false}, // 32 bytes, and no end in sight
		{"CONNECT " + strings.Repeat("0", 23), 0, 0, true},
		{"CONNECT " + strings.Repeat("0", 24) + "\n", 0, 0, false},
	}
	for _, tt := range tests {
		port, n, err := parseConnect([]byte(tt.in))
		if port != tt.port || n != tt.n || (err == nil) != tt.ok {
			t.Errorf("%q: port %d, %d bytes, %v", tt.in, port, n, err)
		}
	}
}

// FuzzParseConnect: a line parses alike however it is cut, and refusals are final.
func FuzzParseConnect(f *testing.F) {
	for _, s := range []string{"CONNECT 1024\n", "CONNECT 4294967295\nrest", "CONNECT x\n", "CONN", strings.Repeat("0", 40)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		port, n, err := parseConnect(line)
		if n > maxLine || n > len(line) || n > 0 && line[n-1] != '\n' {
			t.Fatalf("%d bytes", n)
		}
		for cut := range line {
			p, k, e := parseConnect(line[:cut])
			switch {
			case e != nil && err == nil:
				t.Fatalf("refused after %d bytes, then taken", cut)
			case k > 0 && (p != port || k != n):
				t.Fatalf("port %d after %d bytes, then %d", p, cut, port)
			}
		}
		if err == nil && n == 0 && len(line) >= maxLine {
			t.Fatal("waits for ever")
		}
	})
}

func TestBadConfig(t *testing.T) {
	dir := t.TempDir()
	for name, cfg := range map[string]Config{
		"cid 2":     {GuestCID: 2, Socket: dir + "/a"},
		"cid 2^32":  {GuestCID: 1 << 32, Socket: dir + "/a"},
		"cid any":   {GuestCID: 0xffffffff, Socket: dir + "/a"},
		"no folder": {GuestCID: 3, Socket: dir + "/no/a", UDS: dir + "/b"},
		"no path":   {GuestCID: 3, Socket: ""},
		"long path": {GuestCID: 3, Socket: dir + "/a", UDS: dir + "/" + strings.Repeat("x", 120)},
	} {
		if d, err := Listen(cfg); err == nil {
			_ = d.Close()
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestDialBeforeGuest(t *testing.T) {
	d, err := Listen(Config{GuestCID: 3, Socket: t.TempDir() + "/v"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Dial(t.Context(), 1); !errors.Is(err, ErrNotReady) {
		t.Errorf("before Serve: %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- d.Serve(t.Context()) }()
	for {
		d.mu.Lock()
		serving := d.serving != nil
		d.mu.Unlock()
		if serving {
			break
		}
	}
	if _, err := d.Dial(t.Context(), 1); !errors.Is(err, ErrNotReady) {
		t.Errorf("without a guest: %v", err)
	}
	_ = d.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := d.Dial(t.Context(), 1); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if err := d.Serve(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("Serve after Close: %v", err)
	}
}
