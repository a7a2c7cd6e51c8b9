package netperf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Client is a control connection to a netserver. One test runs on it at a time.
type Client struct {
	control *control
	unhook  func() bool
}

// Dial connects to the netserver that c names. The end of ctx breaks off what the client does.
func Dial(ctx context.Context, c *Config) (*Client, error) {
	d := net.Dialer{Timeout: messageTime}
	if c.Source != "" || c.LocalPort != 0 {
		a, err := net.ResolveTCPAddr(network(c.Family), net.JoinHostPort(c.Source, strconv.Itoa(c.LocalPort)))
		if err != nil {
			return nil, fmt.Errorf("resolve source %s: %w", c.Source, err)
		}
		d.LocalAddr = a
	}
	conn, err := d.DialContext(ctx, network(c.Family), net.JoinHostPort(c.Host, strconv.Itoa(c.Port)))
	if err != nil {
		return nil, fmt.Errorf("connect to netserver: is one listening on %s port %d? %w", c.Host, c.Port, err)
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		_ = conn.Close()
		return nil, fmt.Errorf("connect to netserver: no TCP connection")
	}
	return &Client{newControl(tcp), context.AfterFunc(ctx, func() { _ = tcp.Close() })}, nil
}

func network(family int) string {
	if family == familyV4 || family == familyV6 {
		return "tcp" + strconv.Itoa(family)
	}
	return "tcp"
}

// Close ends the connection as the original does: it waits, though only a while, for the server to end it too.
func (c *Client) Close() {
	c.unhook()
	_ = c.control.CloseWrite()
	_ = c.control.SetReadDeadline(time.Now().Add(lingerTime))
	_, _ = io.Copy(io.Discard, c.control)
	_ = c.control.Close()
}

// exchange sends a request, or none, and receives an answer.
func (c *Client) exchange(ctx context.Context, m *Message, what string, wait time.Duration) (*Message, error) {
	if m != nil {
		if err := c.control.send(m); err != nil {
			return nil, err
		}
	}
	answer, err := c.control.receive(wait)
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, io.EOF):
		return nil, fmt.Errorf("netserver closed the control connection instead of sending its %s", what)
	case err != nil:
		return nil, err
	}
	return answer, statusError(answer.Status(), what)
}

// statusError makes an error of what netserver says is wrong.
func statusError(status int32, what string) error {
	switch {
	case status == 0:
		return nil
	case status == errUnknownTest:
		return fmt.Errorf("netserver does not know this test")
	case status > 0 && status < 4096:
		return fmt.Errorf("netserver's %s: remote error %d: %w", what, status, unix.Errno(status))
	}
	return fmt.Errorf("netserver's %s: remote error %d", what, status)
}

// Run does one test once.
func (c *Client) Run(ctx context.Context, cfg *Config) (*Result, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	return c.run(ctx, cfg, new(latencies))
}

// run does a checked test once. Its latencies, if they are wanted, are added to lat.
func (c *Client) run(ctx context.Context, cfg *Config, lat *latencies) (*Result, error) {
	defer bindCPU(int32(cfg.Local.CPU))()
	r := &run{Config: cfg, client: c, request: cfg.request(), latencies: lat}
	defer r.close()
	if err := r.setUp(ctx); err != nil {
		return nil, err
	}
	if err := r.transfer(ctx); err != nil {
		return nil, err
	}
	m, err := c.exchange(ctx, nil, "results", answerTime)
	if err != nil {
		return nil, err
	}
	return r.result(parseResults(m)), nil
}

// run is one test on the client's side.
type run struct {
	*Config
	client      *Client
	request     *request
	response    *response
	local, peer netip.AddrPort // of the data; local's port may be 0
	sock        *socket
	send, recv  int32 // initial buffers, bytes
	moved       *transfer
	latencies   *latencies
	meter       meter
}

func (r *run) close() {
	if r.sock != nil {
		r.sock.Close()
	}
}

// setUp makes the data socket and the server ready.
func (r *run) setUp(ctx context.Context) error {
	near, far := r.client.control.addresses()
	if err := r.chooseFamily(near.Addr(), far.Addr()); err != nil {
		return err
	}
	var err error
	if r.sock, err = newSocket(r.options(r.local.Addr())); err != nil {
		return err
	}
	if name := r.Local.Congestion; name != "" && !r.Test.udp() {
		if err := r.sock.setCongestion(name); err != nil {
			return err
		}
	}
	r.send, r.recv = r.sock.buffers()
	r.request.ClientPort = int32(r.sock.local().Port())
	m, err := r.client.exchange(ctx, r.request.message(), "response", answerTime)
	if err != nil {
		return err
	}
	r.response = parseResponse(m)
	if r.response.DataPort < 1 || r.response.DataPort > 65535 {
		return fmt.Errorf("netserver's response: data port %d", r.response.DataPort)
	}
	r.peer = netip.AddrPortFrom(r.peer.Addr(), uint16(r.response.DataPort))
	return sleep(ctx, r.Wait)
}

// chooseFamily takes the addresses of the data from those of the control connection, or, when the data is to be of the
// other family, from the names.
func (r *run) chooseFamily(near, far netip.Addr) error {
	r.request.Family = familyV4
	if far.Is6() {
		r.request.Family = familyV6
	}
	if r.DataFamily != 0 && int32(r.DataFamily) != r.request.Family {
		a, err := net.ResolveTCPAddr(network(r.DataFamily), net.JoinHostPort(r.Host, "0"))
		if err != nil {
			return fmt.Errorf("resolve host for data: %w", err)
		}
		far, near = unmapped(a).Addr(), netip.Addr{}
		r.request.Family = int32(r.DataFamily)
	}
	if r.Source == "" || !near.IsValid() {
		near = anyAddress(r.request.Family, far, 0).Addr()
	}
	r.local, r.peer = netip.AddrPortFrom(near, uint16(r.Local.Port)), netip.AddrPortFrom(far, 0)
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
