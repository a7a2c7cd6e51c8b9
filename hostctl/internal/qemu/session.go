package qemu

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/digitalocean/go-qemu/qmp"
	"golang.org/x/sys/unix"
)

// maxMessage bounds one QMP message; query-qmp-schema is about 400 KiB.
const maxMessage = 16 << 20

// dialInterval is how often a socket that is not there yet is tried again.
const dialInterval = 10 * time.Millisecond

// session speaks QMP with the message types of go-qemu. Its SocketMonitor is not used: it drops the error class, breaks
// off at lines over 64 KiB (query-qmp-schema), hands out a buffer that the next read overwrites, and knows no context.
type session struct {
	conn  net.Conn
	log   *wireLog
	hello chan struct{} // closed when the greeting is in
	done  chan struct{} // closed by the reader at the end
	wmu   sync.Mutex    // one writer at a time

	mu      sync.Mutex
	version Version
	serial  int
	pending map[string]chan reply
	events  events
}

// message is anything QEMU sends (docs/interop/qmp-spec.rst).
type message struct {
	qmp.Event
	Greeting *struct {
		Version qmp.Version `json:"version"`
	} `json:"QMP"`
	ID     string          `json:"id"`
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Class string `json:"class"`
		Desc  string `json:"desc"`
	} `json:"error"`
}

// command adds to go-qemu's the id that pairs a reply with it.
type command struct {
	qmp.Command
	ID string `json:"id"`
}

type reply struct {
	value json.RawMessage
	err   *Error
}

func dial(ctx context.Context, socket string) (net.Conn, error) {
	var d net.Dialer
	for {
		c, err := d.DialContext(ctx, "unix", socket)
		if err == nil {
			return c, nil
		}
		if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ECONNREFUSED) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w (last: %v)", context.Cause(ctx), err)
		case <-time.After(dialInterval):
		}
	}
}

func newSession(c net.Conn, log io.Writer) *session {
	s := &session{
		conn: c, log: newWireLog(log), hello: make(chan struct{}), done: make(chan struct{}),
		pending: map[string]chan reply{}, events: newEvents(),
	}
	go s.read()
	return s
}

// negotiate waits for the greeting and leaves negotiation mode.
func (s *session) negotiate(ctx context.Context) error {
	select {
	case <-s.hello:
	case <-s.done:
		return ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("wait for greeting: %w", context.Cause(ctx))
	}
	return s.Run(ctx, "qmp_capabilities", nil, nil)
}

// read owns the connection's input until it ends.
func (s *session) read() {
	defer close(s.done)
	defer s.events.close()
	r := bufio.NewReaderSize(s.conn, 64<<10)
	for {
		line, err := readLine(r)
		if err != nil {
			return
		}
		s.log.line("<-", line)
		var m message
		if json.Unmarshal(line, &m) == nil {
			s.dispatch(&m)
		}
	}
}

// readLine is a message of at most maxMessage bytes.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return line, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		case len(line) > maxMessage:
			return nil, bufio.ErrTooLong
		}
	}
}

func (s *session) dispatch(m *message) {
	switch {
	case m.Greeting != nil:
		s.greet(m.Greeting.Version)
	case m.Event.Event != "":
		s.events.add(Event{
			Name: m.Event.Event, Data: m.Data,
			Time: time.Unix(m.Timestamp.Seconds, m.Timestamp.Microseconds*1000),
		})
	default:
		s.answer(m)
	}
}

func (s *session) greet(v qmp.Version) {
	s.mu.Lock()
	s.version = Version{v.QEMU.Major, v.QEMU.Minor, v.QEMU.Micro}
	s.mu.Unlock()
	select {
	case <-s.hello: // a second greeting is nonsense, not a reason to panic
	default:
		close(s.hello)
	}
}

// answer gives a reply to its command; one whose caller has gone is dropped.
func (s *session) answer(m *message) {
	s.mu.Lock()
	c := s.pending[m.ID]
	delete(s.pending, m.ID)
	s.mu.Unlock()
	if c == nil {
		return
	}
	r := reply{value: m.Return}
	if m.Error != nil {
		r.err = &Error{Class: m.Error.Class, Desc: m.Error.Desc}
	}
	c <- r // has room for it
}

func (s *session) Run(ctx context.Context, cmd string, args, out any) error {
	c, id := s.expect()
	defer s.forget(id)
	if err := s.send(ctx, command{qmp.Command{Execute: cmd, Args: args}, id}); err != nil {
		return fmt.Errorf("qmp %s: %w", cmd, err)
	}
	select {
	case r := <-c:
		return r.decode(cmd, out)
	case <-ctx.Done():
		return fmt.Errorf("qmp %s: %w", cmd, context.Cause(ctx))
	case <-s.done:
	}
	select {
	case r := <-c: // the answer was the last thing read: that of "quit", often
		return r.decode(cmd, out)
	default:
		return fmt.Errorf("qmp %s: %w", cmd, ErrClosed)
	}
}

func (r reply) decode(cmd string, out any) error {
	if r.err != nil {
		r.err.Command = cmd
		return r.err
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(r.value, out); err != nil {
		return fmt.Errorf("qmp %s: decode answer: %w", cmd, err)
	}
	return nil
}

func (s *session) expect() (<-chan reply, string) {
	c := make(chan reply, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serial++
	id := strconv.Itoa(s.serial)
	s.pending[id] = c
	return c, id
}

func (s *session) forget(id string) {
	s.mu.Lock()
	delete(s.pending, id)
	s.mu.Unlock()
}

// send writes one message. A QEMU that is stopped reads nothing, so the end of ctx ends the write; the stream is broken
// then, in the middle of a message, and gets closed.
func (s *session) send(ctx context.Context, c command) error {
	data, err := json.Marshal(c)
	if err != nil {
		return err
	}
	s.wmu.Lock()
	defer s.wmu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	fired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = s.conn.SetWriteDeadline(time.Unix(1, 0))
		close(fired)
	})
	n, err := s.conn.Write(append(data, '\n'))
	if !stop() {
		<-fired
		_ = s.conn.SetWriteDeadline(time.Time{})
	}
	s.log.line("->", data)
	switch {
	case err == nil:
		return nil
	case n > 0:
		s.conn.Close()
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return ErrClosed
}

func (s *session) Version() Version {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.version
}

func (s *session) Close() error {
	err := s.conn.Close()
	<-s.done
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("close qmp: %w", err)
	}
	return nil
}

func (s *session) Events(ctx context.Context) <-chan Event { return s.events.subscribe(ctx) }

func (s *session) WaitEvent(ctx context.Context, name string, match func(Event) bool) (Event, error) {
	return s.events.wait(ctx, name, match)
}
