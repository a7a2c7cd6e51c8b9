package netperf

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Test is a kind of test. Direction is as the client sees it: TCP_STREAM sends.
type Test struct {
	Name      string
	Title     string // in the original's banner
	Direction Direction
	Protocol  int32 // unix.IPPROTO_TCP or UDP
	Connects  bool  // a connection for each transaction
}

// Tests are the tests by name, in the original's order.
var Tests = []Test{
	{"TCP_STREAM", "MIGRATED TCP STREAM TEST", Send, unix.IPPROTO_TCP, false},
	{"TCP_MAERTS", "MIGRATED TCP MAERTS TEST", Receive, unix.IPPROTO_TCP, false},
	{"TCP_RR", "MIGRATED TCP REQUEST/RESPONSE TEST", RR, unix.IPPROTO_TCP, false},
	{"TCP_CRR", "MIGRATED TCP Connect/Request/Response TEST", RR, unix.IPPROTO_TCP, true},
	{"UDP_STREAM", "MIGRATED UDP STREAM TEST", Send, unix.IPPROTO_UDP, false},
	{"UDP_RR", "MIGRATED UDP REQUEST/RESPONSE TEST", RR, unix.IPPROTO_UDP, false},
	{"OMNI", "OMNI Send TEST", Send, unix.IPPROTO_TCP, false},
}

// TestNamed finds a test, whatever the case of its name.
func TestNamed(name string) (Test, error) {
	for _, t := range Tests {
		if strings.EqualFold(t.Name, name) {
			return t, nil
		}
	}
	var names []string
	for _, t := range Tests {
		names = append(names, t.Name)
	}
	return Test{}, fmt.Errorf("test %q: unknown; there are %s", name, strings.Join(names, ", "))
}

// udp says that the test's data goes in datagrams.
func (t *Test) udp() bool { return t.Protocol == unix.IPPROTO_UDP }

// Side is what one side of a test is asked for. Sizes are bytes; 0 is the default of that side.
type Side struct {
	SendSize, RecvSize     int
	SendBuffer, RecvBuffer int
	NoDelay                bool
	Congestion             string // name of a congestion control, "" the system's
	CPU                    int    // to run on, -1 any
	MeasureCPU             bool
	Port                   int // of the data socket, 0 any
	Priority, TOS          int // -1 the system's
}

// Config is one test. Start from NewConfig.
type Config struct {
	Host      string // netserver's name or address
	Port      int    // netserver's
	Family    int    // of the addresses: 4, 6, or 0 for what Host has
	Source    string // local address of the control and data connections, "" any
	LocalPort int    // of the control connection, 0 any

	Test       Test
	Length     int // seconds; negative: bytes of a stream, or transactions; at most a week
	Local      Side
	Remote     Side
	Request    int // bytes of each request and response
	Response   int
	Burst      int           // requests under way beside the first
	Routing    bool          // else SO_DONTROUTE
	Keepalive  bool          // SO_KEEPALIVE on the data connection
	Wait       time.Duration // between setting the test up and starting it
	Latency    bool          // measure it: costs two looks at the clock for each call
	Interim    time.Duration // between calls of OnInterim, 0 none
	DataFamily int           // as Family, of the data connection; 0 that of the control connection

	// OnInterim is told of the progress, by a goroutine of its own.
	OnInterim func(Interim)
}

// Interim is progress: Units (bytes or transactions) in the Span that ended At.
type Interim struct {
	Units uint64
	Span  time.Duration
	At    time.Time
}

// NewConfig is a test of 10 s with the original's defaults: 1-byte transactions, routing except for UDP_STREAM.
func NewConfig(host string, t Test) *Config {
	side := Side{CPU: -1, Priority: -1, TOS: -1}
	return &Config{
		Host: host, Port: Port, Test: t, Length: 10, Local: side, Remote: side, Request: 1, Response: 1,
		Routing: !t.udp() || t.Direction == RR,
	}
}

// Check finds what cannot be done before anything is sent.
func (c *Config) Check() error {
	for _, n := range []int{c.Local.SendSize, c.Local.RecvSize, c.Remote.SendSize, c.Remote.RecvSize, c.Request, c.Response} {
		if n < 0 || n > maxSize {
			return fmt.Errorf("size %d: 0 to %d bytes", n, maxSize)
		}
	}
	for _, p := range []int{c.Port, c.LocalPort, c.Local.Port, c.Remote.Port} {
		if p < 0 || p > 65535 {
			return fmt.Errorf("port %d: 0 to 65535", p)
		}
	}
	switch {
	case c.Host == "":
		return fmt.Errorf("no host to test with")
	case c.Test.Direction == RR && min(c.Request, c.Response) < 1:
		return fmt.Errorf("transaction of %d and %d bytes: at least 1", c.Request, c.Response)
	case c.Test.udp() && max(c.Local.SendSize, c.Request, c.Response) > maxDatagram:
		return fmt.Errorf("datagram too large: at most %d bytes", maxDatagram)
	case c.Test.udp() && c.Test.Direction == Receive:
		return fmt.Errorf("receiving UDP only: the server could not know where to send")
	case c.Length == 0 || c.Length > maxLength || c.Length < -1<<31:
		return fmt.Errorf("length %d: 1 to %d s, or the negative of a number of bytes or transactions", c.Length, maxLength)
	case c.Burst < 0 || c.Burst > 1<<16:
		return fmt.Errorf("burst of %d: 0 to %d requests", c.Burst, 1<<16)
	case c.Burst > 0 && (c.Test.Direction != RR || c.Test.Connects):
		return fmt.Errorf("burst: only for TCP_RR and UDP_RR")
	}
	return nil
}

// request is what the server is asked for.
func (c *Config) request() *request {
	r := &request{
		CPU:        int32(c.Remote.CPU),
		SendBuffer: orDefault(c.Remote.SendBuffer), RecvBuffer: orDefault(c.Remote.RecvBuffer),
		SendSize: orDefault(c.Remote.SendSize), RecvSize: orDefault(c.Remote.RecvSize),
		Request: -1, Response: -1, Flags: c.flags(), Length: int32(c.Length), DataPort: int32(c.Remote.Port),
		Protocol: c.Test.Protocol, Direction: c.Test.Direction.other(),
		Priority: int32(c.Remote.Priority), TOS: int32(c.Remote.TOS), Congestion: c.Remote.Congestion,
	}
	if c.Test.Direction == RR {
		r.Request, r.Response = int32(c.Request), int32(c.Response)
	}
	return r
}

// orDefault is the wire's -1 for what is not given.
func orDefault(n int) int32 { return int32(cmp.Or(n, -1)) }

func (c *Config) flags() (flags int32) {
	for _, f := range []struct {
		set bool
		bit int32
	}{
		{c.Remote.NoDelay, flagNoDelay}, {c.Test.Connects, flagConnect}, {c.Remote.MeasureCPU, flagCPU},
		{c.Routing, flagRouting}, {c.Keepalive, flagKeepalive},
	} {
		if f.set {
			flags |= f.bit
		}
	}
	return flags
}

// options are those of the local data sockets.
func (c *Config) options(local netip.Addr) *dataOptions {
	return &dataOptions{
		Protocol: c.Test.Protocol, Local: netip.AddrPortFrom(local, uint16(c.Local.Port)),
		SendBuffer: orDefault(c.Local.SendBuffer), RecvBuffer: orDefault(c.Local.RecvBuffer),
		NoDelay: c.Local.NoDelay, Keepalive: c.Keepalive, DontRoute: !c.Routing,
		Priority: int32(c.Local.Priority), TOS: int32(c.Local.TOS), Congestion: c.Local.Congestion,
	}
}
