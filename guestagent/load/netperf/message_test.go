package netperf

import (
	"encoding/binary"
	"io"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// good is a request as netperf sends it for a TCP_RR.
func good() *request {
	return &request{
		CPU: -1, SendBuffer: -1, RecvBuffer: -1, SendSize: -1, RecvSize: -1, Request: 1, Response: 1, Flags: flagRouting,
		Length: 1, Family: familyV4, Protocol: unix.IPPROTO_TCP, Direction: RR, Priority: -1, TOS: -1,
	}
}

func TestRequestLayout(t *testing.T) {
	r := good()
	r.CPU, r.SendBuffer, r.RecvSize, r.DataPort, r.ClientPort, r.Congestion = 3, 1000, 77, 5001, 6001, "cubic"
	m := r.message()
	for offset, want := range map[int]int32{
		0: 97, 4: 3, 8: 1000, 12: -1, 16: 8, 28: 1, 32: -1, 36: 77, 52: 1, 56: 0x20, 64: 1, 88: 5001, 92: 4, 96: 1, 100: 6,
		104: 6, 108: 6001, 152: -1, 156: -1,
	} {
		if got := int32(binary.BigEndian.Uint32(m[offset:])); got != want {
			t.Errorf("offset %d: %d, want %d", offset, got, want)
		}
	}
	if string(m[160:166]) != "cubic\x00" || len(m) != 656 {
		t.Errorf("congestion control %q in %d bytes", m[160:176], len(m))
	}
	back, err := parseRequest(m)
	if err != nil || *back != *r {
		t.Errorf("read back %+v, %v, want %+v", back, err, r)
	}
}

func TestResponseAndResultsRoundTrip(t *testing.T) {
	r := &response{RecvBuffer: 1, RecvSize: 2, SendBuffer: 3, SendSize: 4, Flags: 5, Length: -6, DataPort: 7}
	if back := parseResponse(r.message()); *back != *r {
		t.Errorf("response %+v, want %+v", back, r)
	}
	x := &results{
		counts: counts{1<<40 + 1, 1<<41 + 2, 3, 4, 5, 6}, RecvBufferEnd: 7, SendBufferEnd: 8, Elapsed: 1.5,
		CPU: Utilization{"S", 2, 50, 10, 20, 1, 2, 3, 1, 75}, Demand: 0.25, Retransmits: 9, Congestion: "bbr",
	}
	if back := parseResults(x.message()); *back != *x {
		t.Errorf("results %+v, want %+v", back, x)
	}
	if m := x.message(); binary.BigEndian.Uint32(m[116-4-4:]) != 0 || string(m[276:279]) != "bbr" || m.word(26) != 9 {
		t.Error("results are not laid out as the original's")
	}
	x.CPU = unmeasured()
	if back := parseResults(x.message()); back.CPU != unmeasured() {
		t.Errorf("unmeasured CPU use came back as %+v", back.CPU)
	}
}

func TestStrangeFloatsAndTexts(t *testing.T) {
	m := new(Message)
	m.setWord(10, 0x7fc00000) // NaN, which the real netserver sends
	m.setWord(17, 0x7f800000) // infinity
	copy(m[resultsCongestion:], "b\x1b[2Jr\xff 123456789012345")
	r := parseResults(m)
	if r.Elapsed != 0 || r.Demand != 0 {
		t.Errorf("elapsed %v, demand %v", r.Elapsed, r.Demand)
	}
	if strings.ContainsFunc(r.Congestion, func(c rune) bool { return c <= ' ' || c > '~' }) || len(r.Congestion) > congestionLen {
		t.Errorf("congestion control %q", r.Congestion)
	}
	m.setText(resultsCongestion, congestionLen, strings.Repeat("x", 40))
	if m[resultsCongestion+congestionLen-1] != 0 {
		t.Error("text without its NUL")
	}
}

// bad are requests that no server may act on.
var bad = map[string]func(*request){
	"send size":            func(r *request) { r.SendSize = maxSize + 1 },
	"receive size":         func(r *request) { r.RecvSize = 1<<31 - 1 },
	"request size":         func(r *request) { r.Request = maxSize + 1 },
	"no request":           func(r *request) { r.Request = 0 },
	"no response":          func(r *request) { r.Response = -1 },
	"protocol":             func(r *request) { r.Protocol = 132 },
	"no direction":         func(r *request) { r.Direction = 0 },
	"direction":            func(r *request) { r.Direction = 14 },
	"server sends UDP":     func(r *request) { r.Direction, r.Protocol = Send, unix.IPPROTO_UDP },
	"connections over UDP": func(r *request) { r.Flags, r.Protocol = flagConnect, unix.IPPROTO_UDP },
	"connections, stream":  func(r *request) { r.Flags, r.Direction = flagConnect, Receive },
	"huge datagram":        func(r *request) { r.Protocol, r.Response = unix.IPPROTO_UDP, maxDatagram+1 },
	"data port":            func(r *request) { r.DataPort = 65536 },
	"negative port":        func(r *request) { r.ClientPort = -1 },
	"family":               func(r *request) { r.Family = 5 },
	"length":               func(r *request) { r.Length = 1<<31 - 1 },
}

func TestBadRequests(t *testing.T) {
	if _, err := parseRequest(good().message()); err != nil {
		t.Fatalf("good request: %v", err)
	}
	for name, spoil := range bad {
		r := good()
		spoil(r)
		if _, err := parseRequest(r.message()); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	m := good().message()
	m.setWord(22, socketDatagram)
	if _, err := parseRequest(m); err == nil {
		t.Error("TCP on a datagram socket: taken")
	}
}

func FuzzRequest(f *testing.F) {
	f.Add(good().message()[:])
	for _, spoil := range bad {
		r := good()
		spoil(r)
		f.Add(r.message()[:])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var m Message
		copy(m[:], data)
		r, err := parseRequest(&m)
		if err != nil {
			return
		}
		if max(r.SendSize, r.RecvSize, r.Request, r.Response) > maxSize {
			t.Fatalf("sizes of %+v", r)
		}
		if back, err := parseRequest(r.message()); err != nil || *back != *r {
			t.Fatalf("%+v came back as %+v, %v", r, back, err)
		}
	})
}

// FuzzAnswers takes arbitrary responses and results as far as the output.
func FuzzAnswers(f *testing.F) {
	f.Add((&response{DataPort: 1}).message()[:], (&results{CPU: unmeasured()}).message()[:])
	f.Add((&response{SendSize: -1}).message()[:], (&results{CPU: Utilization{"S", 2, 50, 10, 20, 1, 2, 3, 1, 75}, Retransmits: -9}).message()[:])
	f.Fuzz(func(t *testing.T, first, second []byte) {
		var a, b Message
		copy(a[:], first)
		copy(b[:], second)
		far := parseResults(&b)
		if far.Elapsed != far.Elapsed || far.CPU.Total != far.CPU.Total {
			t.Fatalf("no number in %+v", far)
		}
		for _, args := range []string{"--json -t TCP_RR", "-t TCP_STREAM -c -C -v 2", "-t UDP_STREAM -c", "-t TCP_CRR -- -k all", "-t omni -- -O all"} {
			o, err := ParseOptions(strings.Fields(args))
			if err != nil {
				t.Fatal(err)
			}
			r := &run{Config: &o.Config, response: parseResponse(&a), moved: &transfer{latency: new(latencies)}}
			if err := o.Write(io.Discard, r.result(far)); err != nil {
				t.Fatalf("%s: %v", args, err)
			}
		}
	})
}
