package guestagent

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"picolab/guestagent/client"
	"picolab/guestagent/verbs"
	"picolab/guestagent/wire"

	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/proto"
)

const token = "00112233445566778899aabbccddeeff"

// agent serves on a unix socket until the test ends.
type agent struct {
	t    testing.TB
	path string

	mu   sync.Mutex
	logs []string
}

func serve(t testing.TB, o Options) *agent {
	t.Helper()
	a := &agent{t: t, path: filepath.Join(t.TempDir(), "s")}
	l, err := net.Listen("unix", a.path)
	if err != nil {
		t.Fatal(err)
	}
	if o.Verbs == nil {
		o.Verbs = verbs.New(verbs.Env{})
	}
	o.Logf = func(format string, args ...any) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.logs = append(a.logs, format)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, o) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error("serve:", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("serve does not end")
		}
	})
	return a
}

func (a *agent) dial() net.Conn {
	a.t.Helper()
	conn, err := net.Dial("unix", a.path)
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { conn.Close() })
	return conn
}

func (a *agent) client() *client.Client {
	c := client.New(a.dial())
	a.t.Cleanup(func() { c.Close() })
	return c
}

func (a *agent) known() *client.Client {
	a.t.Helper()
	c := a.client()
	if _, err := c.Hello(context.Background(), token); err != nil {
		a.t.Fatal(err)
	}
	return c
}

func TestHello(t *testing.T) {
	a := serve(t, Options{Token: token, ImageID: "image", Started: time.Now()})
	c := a.client()
	r, err := c.Hello(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	if r.ImageId != "image" || r.Kernel == "" || r.BootId == "" || r.UptimeMs <= 0 || r.InitMs <= 0 || r.Version == "" || c.Info() != r {
		t.Errorf("%v", r)
	}
	if err := c.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestWrongToken(t *testing.T) {
	a := serve(t, Options{Token: token})
	for _, tok := range []string{"", "x", token + "0", token[:31], "00112233445566778899aabbccddeefe"} {
		c := a.client()
		if _, err := c.Hello(t.Context(), tok); wire.CodeOf(err) != wire.Code_REFUSED {
			t.Errorf("token %q: %v", tok, err)
		}
		if err := c.Ping(t.Context()); err == nil {
			t.Errorf("token %q: ping works", tok)
		}
		waitClosed(t, c)
	}
	a.known()
}

// waitClosed waits until the agent has closed a connection.
func waitClosed(t *testing.T, c *client.Client) {
	t.Helper()
	for range 300 {
		if wire.CodeOf(c.Ping(context.Background())) == wire.Code_LOST {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("connection still open")
}

func TestNothingBeforeHello(t *testing.T) {
	c := serve(t, Options{Token: token}).client()
	for name, err := range map[string]error{
		"ping":  c.Ping(t.Context()),
		"run":   second(c.Run(t.Context(), "true")),
		"read":  second(c.ReadFile(t.Context(), "/etc/passwd")),
		"write": c.WriteFile(t.Context(), filepath.Join(t.TempDir(), "x"), 0, nil),
		"dmesg": c.Dmesg(t.Context(), false, func(string) {}),
	} {
		if wire.CodeOf(err) != wire.Code_REFUSED {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// frame is a ttrpc frame.
func frame(length, stream uint32, kind, flags byte, payload []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, length)
	b = binary.BigEndian.AppendUint32(b, stream)
	return append(append(b, kind, flags), payload...)
}

// request is a frame that opens a call.
func request(stream uint32, flags byte, method string, m proto.Message) []byte {
	p, _ := proto.Marshal(m)
	b, _ := proto.Marshal(&ttrpc.Request{Service: wire.ServiceName, Method: method, Payload: p})
	return frame(uint32(len(b)), stream, 1, flags, b)
}

func helloFrame() []byte {
	return request(1, 0, "Hello", &wire.HelloRequest{Token: token, Protocol: wire.Protocol})
}

// hostile is what a peer may send; the agent must survive it, and end the connection where ends says so.
var hostile = map[string]struct {
	ends bool
	b    []byte
}{
	"frame over the limit":           {true, frame(wire.MaxFrame+1, 3, 1, 0, nil)},
	"huge frame":                     {true, frame(1<<32-1, 3, 1, 0, nil)},
	"unknown type":                   {true, frame(0, 3, 9, 0, nil)},
	"even stream":                    {true, frame(0, 2, 1, 0, nil)},
	"stream 0":                       {true, frame(0, 0, 1, 0, nil)},
	"no such stream":                 {false, frame(0, 99, 3, 0, nil)},
	"garbage request":                {false, frame(4, 3, 1, 0, []byte{255, 255, 255, 255})},
	"empty request":                  {false, frame(0, 3, 1, 0, nil)},
	"stream reused":                  {false, append(request(3, 0, "Ping", &wire.PingRequest{}), request(3, 0, "Ping", &wire.PingRequest{})...)},
	"no such method":                 {false, request(3, 0, "Nope", &wire.Empty{})},
	"data after a call":              {false, append(request(3, 0, "Settle", &wire.SettleRequest{}), frame(0, 3, 3, 0, nil)...)},
	"data and end for a plain call":  {false, append(request(3, 2, "Links", &wire.Empty{}), frame(0, 3, 3, 5, nil)...)},
	"data twice for a plain call":    {false, append(request(3, 2, "Links", &wire.Empty{}), append(frame(0, 3, 3, 0, nil), frame(0, 3, 3, 0, nil)...)...)},
	"stream without a start":         {false, append(request(3, 2, "Exec", &wire.Empty{}), frame(0, 3, 3, 5, nil)...)},
	"get, then acks of nothing":      {false, append(request(3, 2, "Get", &wire.GetInput{Kind: &wire.GetInput_Start{Start: &wire.GetStart{Path: "/dev/zero"}}}), dataFrame(3, &wire.GetInput{Kind: &wire.GetInput_Ack{Ack: &wire.Ack{Messages: 1 << 31}}})...)},
	"input for a command without it": {false, append(request(3, 2, "Exec", &wire.ExecInput{Kind: &wire.ExecInput_Start{Start: &wire.ExecStart{Argv: []string{"sleep", "9"}}}}), bytes.Repeat(dataFrame(3, &wire.ExecInput{Kind: &wire.ExecInput_Stdin{Stdin: []byte("x")}}), 100)...)},
}

func dataFrame(stream uint32, m proto.Message) []byte {
	b, _ := proto.Marshal(m)
	return frame(uint32(len(b)), stream, 3, 0, b)
}

func TestHostileFrames(t *testing.T) {
	a := serve(t, Options{Token: token})
	other := a.known()
	for name, tt := range hostile {
		t.Run(name, func(t *testing.T) {
			conn := a.dial()
			write(t, conn, helloFrame())
			write(t, conn, tt.b)
			if tt.ends {
				readToEnd(t, conn)
			} else {
				readFrame(t, conn) // hello's reply
				conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
				_, _ = io.Copy(io.Discard, conn)
			}
			conn.Close()
			if err := other.Ping(t.Context()); err != nil {
				t.Error("another connection:", err)
			}
		})
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.logs) > 0 {
		t.Errorf("log: %q", a.logs)
	}
}

func write(t *testing.T, conn net.Conn, b []byte) {
	t.Helper()
	conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
	if _, err := conn.Write(b); err != nil {
		t.Log("write:", err)
	}
}

// readToEnd fails unless the agent ends the connection.
func readToEnd(t *testing.T, conn net.Conn) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	var timeout net.Error
	if _, err := io.Copy(io.Discard, conn); errors.As(err, &timeout) && timeout.Timeout() {
		t.Error("connection still open")
	}
}

func readFrame(t *testing.T, conn net.Conn) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	h := make([]byte, 10)
	if _, err := io.ReadFull(conn, h); err != nil {
		t.Error(err)
		return
	}
	if _, err := io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint32(h))); err != nil {
		t.Error(err)
	}
}

// TestBigFrameBeforeHello shows that a stranger cannot send what a client may.
func TestBigFrameBeforeHello(t *testing.T) {
	conn := serve(t, Options{Token: token}).dial()
	write(t, conn, frame(wire.MaxFrameBeforeHello+1, 1, 1, 0, nil))
	readToEnd(t, conn)
}

func TestSilentStranger(t *testing.T) {
	const patience = 200 * time.Millisecond
	conn := serve(t, Options{Token: token, HelloTimeout: patience}).dial()
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	start := time.Now()
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) || time.Since(start) < patience/2 {
		t.Errorf("%v after %v", err, time.Since(start))
	}
}

func TestPanicIsAnError(t *testing.T) {
	a := serve(t, Options{Token: token, Verbs: verbs.New(verbs.Env{Settle: func(context.Context) (*wire.SettleReply, error) { panic("defect") }})})
	c := a.known()
	if _, err := c.Settle(t.Context()); wire.CodeOf(err) != wire.Code_INTERNAL {
		t.Errorf("error %v", err)
	}
	if err := c.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.logs) != 1 {
		t.Errorf("log %q", a.logs)
	}
}

func TestCallsAreBounded(t *testing.T) {
	release := make(chan struct{})
	a := serve(t, Options{Token: token, Verbs: verbs.New(verbs.Env{Settle: func(ctx context.Context) (*wire.SettleReply, error) {
		select {
		case <-release:
		case <-ctx.Done():
		}
		return &wire.SettleReply{}, nil
	}})})
	c := a.known()
	var calls sync.WaitGroup
	errs := make(chan error, wire.MaxStreams+20)
	for range wire.MaxStreams + 20 {
		calls.Go(func() { errs <- second(c.Settle(context.Background())) })
	}
	refused := 0
	for range 20 {
		if err := <-errs; wire.CodeOf(err) == wire.Code_TOO_BIG {
			refused++
		}
	}
	close(release)
	calls.Wait()
	if refused != 20 {
		t.Errorf("%d calls refused", refused)
	}
	if err := c.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	a := serve(t, Options{Token: token})
	clients := make([]*client.Client, wire.MaxConns)
	for i := range clients {
		clients[i] = a.known()
	}
	if _, err := a.client().Hello(t.Context(), token); err == nil {
		t.Error("one more is served")
	}
	clients[0].Close()
	for range 100 {
		c := a.client()
		_, err := c.Hello(t.Context(), token)
		if c.Close(); err == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("a freed place is not given again")
}

// TestDeadlineTravels sees a call's deadline on the agent's side.
func TestDeadlineTravels(t *testing.T) {
	ended := make(chan error, 1)
	a := serve(t, Options{Token: token, Verbs: verbs.New(verbs.Env{Settle: func(ctx context.Context) (*wire.SettleReply, error) {
		<-ctx.Done()
		ended <- ctx.Err()
		return nil, ctx.Err()
	}})})
	c := a.known()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := c.Settle(ctx); wire.CodeOf(err) != wire.Code_DEADLINE {
		t.Errorf("client: %v", err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("agent: %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("the agent's call does not end")
	}
}

// harmless is an agent that does nothing to its machine; a verb it does not have panics.
type harmless struct {
	wire.AgentService
	v *verbs.Verbs
}

func (h harmless) Ping(ctx context.Context, req *wire.PingRequest) (*wire.PingReply, error) {
	return h.v.Ping(ctx, req)
}

func (h harmless) Get(ctx context.Context, ss wire.Agent_GetServer) error { return h.v.Get(ctx, ss) }

// FuzzSession feeds a session whatever bytes, before and after Hello. No byte may crash or hang it.
func FuzzSession(f *testing.F) {
	for _, h := range hostile {
		f.Add(true, h.b)
		f.Add(false, h.b)
	}
	f.Add(false, helloFrame())
	o := Options{Token: token, Verbs: harmless{v: verbs.New(verbs.Env{})}}
	f.Fuzz(func(t *testing.T, known bool, b []byte) {
		ours, theirs := net.Pipe()
		done := make(chan struct{})
		go func() { defer close(done); ServeConn(context.Background(), theirs, o) }()
		go io.Copy(io.Discard, ours)
		ours.SetWriteDeadline(time.Now().Add(5 * time.Second))
		if known {
			_, _ = ours.Write(helloFrame())
		}
		_, _ = ours.Write(b)
		ours.Close()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Fatal("session does not end")
		}
	})
}
