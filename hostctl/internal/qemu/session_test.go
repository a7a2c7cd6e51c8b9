package qemu

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const greeting = `{"QMP": {"version": {"qemu": {"micro": 2, "minor": 0, "major": 10}, "package": "test"}, "capabilities": ["oob"]}}`

// fake is a QEMU that greets, accepts qmp_capabilities and answers with what script says.
type fake struct {
	net.Conn
	t *testing.T
}

type request struct {
	Execute   string          `json:"execute"`
	Arguments json.RawMessage `json:"arguments"`
	ID        string          `json:"id"`
}

func (f fake) send(format string, args ...any) {
	// A client that has hung up is part of some tests.
	_, _ = fmt.Fprintf(f, format+"\r\n", args...)
}

// serve listens on a socket and gives each request after the handshake to script, whose false ends the connection.
func serve(t *testing.T, script func(fake, request) bool) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "qmp")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		f := fake{c, t}
		f.send(greeting)
		for sc := bufio.NewScanner(c); sc.Scan(); {
			var r request
			if err := json.Unmarshal(sc.Bytes(), &r); err != nil {
				t.Errorf("client sent %q: %v", sc.Text(), err)
				return
			}
			if r.Execute == "qmp_capabilities" {
				f.send(`{"return": {}, "id": %q}`, r.ID)
			} else if !script(f, r) {
				return
			}
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return path
}

func connect(t *testing.T, socket string) Monitor {
	t.Helper()
	m, err := Connect(t.Context(), socket, ConnectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func TestRun(t *testing.T) {
	m := connect(t, serve(t, func(f fake, r request) bool {
		switch r.Execute {
		case "echo":
			f.send(`{"return": %s, "id": %q}`, r.Arguments, r.ID)
		case "device_del":
			f.send(`{"id": %q, "error": {"class": "DeviceNotFound", "desc": "Device 'x' not found"}}`, r.ID)
		}
		return true
	}))
	if v := m.Version(); v != (Version{10, 0, 2}) {
		t.Error(v)
	}
	var out struct{ A string }
	if err := m.Run(t.Context(), "echo", map[string]string{"A": "b"}, &out); err != nil || out.A != "b" {
		t.Error(out, err)
	}
	err := m.Run(t.Context(), "device_del", nil, nil)
	if !IsClass(err, DeviceNotFound) || IsClass(err, GenericError) || !strings.Contains(err.Error(), "device_del") {
		t.Error(err)
	}
}

// Two things go-qemu's SocketMonitor does not do: take a line over 64 KiB, and keep an answer intact while events come.
func TestLongAnswerAmidEvents(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	m := connect(t, serve(t, func(f fake, r request) bool {
		f.send(`{"event": "STOP", "timestamp": {"seconds": 1, "microseconds": 2}}`)
		f.send(`{"return": %q, "id": %q}`, long, r.ID)
		for range 100 {
			f.send(`{"event": "RESUME", "data": {"s": %q}, "timestamp": {"seconds": 1, "microseconds": 2}}`, strings.Repeat("y", 1000))
		}
		return true
	}))
	for range 5 {
		var got string
		if err := m.Run(t.Context(), "query", nil, &got); err != nil || got != long {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	}
	if e, err := m.WaitEvent(t.Context(), "STOP", nil); err != nil || !e.Time.Equal(time.Unix(1, 2000)) {
		t.Error(e, err)
	}
}

func TestAnswersOutOfOrder(t *testing.T) {
	var first request
	m := connect(t, serve(t, func(f fake, r request) bool {
		if first.ID == "" {
			first = r
			return true
		}
		f.send(`{"return": %q, "id": %q}`, r.Execute, r.ID)
		f.send(`{"return": %q, "id": %q}`, first.Execute, first.ID)
		return true
	}))
	var wg sync.WaitGroup
	for _, name := range []string{"one", "two"} {
		wg.Go(func() {
			var got string
			if err := m.Run(t.Context(), name, nil, &got); err != nil || got != name {
				t.Error(name, got, err)
			}
		})
	}
	wg.Wait()
}

func TestWaitEvent(t *testing.T) {
	m := connect(t, serve(t, func(f fake, r request) bool {
		// The order QEMU has: the virtio child first, without an id.
		f.send(`{"event": "DEVICE_DELETED", "data": {"path": "/machine/x"}}`)
		f.send(`{"event": "DEVICE_DELETED", "data": {"device": "nic1", "path": "/machine/y"}}`)
		f.send(`{"return": {}, "id": %q}`, r.ID)
		return true
	}))
	if err := m.Run(t.Context(), "device_del", nil, nil); err != nil {
		t.Fatal(err)
	}
	isNIC := func(e Event) bool { return e.Data["device"] == "nic1" }
	if _, err := m.WaitEvent(t.Context(), "DEVICE_DELETED", isNIC); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := m.WaitEvent(ctx, "DEVICE_DELETED", isNIC); !errors.Is(err, context.DeadlineExceeded) {
		t.Error("one event was returned twice:", err)
	}
	if _, err := m.WaitEvent(t.Context(), "DEVICE_DELETED", nil); err != nil {
		t.Error("the other event is lost:", err)
	}
}

func TestEventsEndWithContextAndConnection(t *testing.T) {
	m := connect(t, serve(t, func(f fake, r request) bool {
		if r.Execute == "quit" {
			return false
		}
		f.send(`{"event": "STOP"}`)
		f.send(`{"return": {}, "id": %q}`, r.ID)
		return true
	}))
	ctx, cancel := context.WithCancel(t.Context())
	short, long := m.Events(ctx), m.Events(t.Context())
	if err := m.Run(t.Context(), "stop", nil, nil); err != nil {
		t.Fatal(err)
	}
	if e := <-short; e.Name != "STOP" {
		t.Error(e)
	}
	cancel()
	if _, open := <-short; open {
		t.Error("subscription outlives its context")
	}
	<-long
	if err := m.Run(t.Context(), "quit", nil, nil); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if _, open := <-long; open {
		t.Error("subscription outlives the connection")
	}
	if _, err := m.WaitEvent(t.Context(), "SHUTDOWN", nil); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

func TestRunCancelled(t *testing.T) {
	m := connect(t, serve(t, func(f fake, r request) bool {
		if r.Execute == "fast" {
			f.send(`{"return": 1, "id": %q}`, r.ID)
		}
		return true
	}))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := m.Run(ctx, "slow", nil, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if err := m.Run(t.Context(), "fast", nil, nil); err != nil {
		t.Error("connection unusable after a cancelled command:", err)
	}
}

func TestConnectWaitsForSocket(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := Connect(ctx, filepath.Join(t.TempDir(), "none"), ConnectOptions{})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no such file") {
		t.Error(err)
	}
}

func TestLog(t *testing.T) {
	var log bytes.Buffer
	m, err := Connect(t.Context(), serve(t, func(f fake, r request) bool {
		f.send(`{"return": 5, "id": %q}`, r.ID)
		return true
	}), ConnectOptions{Log: &log})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Run(t.Context(), "query-x", nil, nil); err != nil {
		t.Fatal(err)
	}
	m.Close()
	for _, want := range []string{"<- " + greeting, `-> {"execute":"query-x","id":"2"}`, `<- {"return": 5`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %q in\n%s", want, log.String())
		}
	}
}

// QEMU's side is trusted, but a version we do not know must not bring hostctl down.
func FuzzDispatch(f *testing.F) {
	for _, s := range []string{greeting, `{"event":"STOP"}`, `{"return":{},"id":"1"}`, `{"error":{"class":"a","desc":"b"},"id":"1"}`, `{"id":7}`, `[]`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		s := &session{hello: make(chan struct{}), pending: map[string]chan reply{"1": make(chan reply, 1)}, events: newEvents()}
		for range 2 {
			var m message
			if json.Unmarshal([]byte(line), &m) == nil {
				s.dispatch(&m)
			}
		}
	})
}
