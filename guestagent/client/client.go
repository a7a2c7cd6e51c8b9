// Package client calls an agent over any net.Conn: a guest's over vsock, the lab's host side over a socketpair.
//
// Every method takes a context; cancelling it ends what the call started on the other side. Errors are *wire.Error, so
// that wire.CodeOf tells the endpoint's fault from ours and errors.Is sees the endpoint's errno. A Client may be used
// by many goroutines at once.
package client

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"picolab/guestagent/wire"

	"github.com/containerd/log"
	"github.com/containerd/ttrpc"
)

func init() {
	// ttrpc reports replies to calls that were given up on the global logger; that is not news.
	log.L.Logger.SetOutput(io.Discard)
}

// Client is one connection to an agent.
type Client struct {
	rpc    *ttrpc.Client
	agent  wire.AgentClient
	ctx    context.Context
	cancel context.CancelFunc

	mu    sync.Mutex
	hello *wire.HelloReply
}

// New takes over conn. The first call must be Hello. Close ends the connection.
func New(conn net.Conn) *Client {
	rpc := ttrpc.NewClient(wire.Guard(conn, wire.MaxFrame))
	ctx, cancel := context.WithCancel(context.Background())
	return &Client{rpc: rpc, agent: wire.NewAgentClient(rpc), ctx: ctx, cancel: cancel}
}

// Close ends the connection and with it everything it started on the other side. It waits until no goroutine of the
// client runs.
func (c *Client) Close() error {
	c.cancel()
	err := c.rpc.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return errors.Join(err, c.rpc.UserOnCloseWait(ctx))
}

// Hello introduces the client with the boot token.
func (c *Client) Hello(ctx context.Context, token string) (*wire.HelloReply, error) {
	reply, err := unary(ctx, c.agent.Hello, &wire.HelloRequest{Token: token, Protocol: wire.Protocol})
	if err != nil {
		return nil, err
	}
	if reply.Protocol != wire.Protocol {
		return nil, wire.Errorf(wire.Code_UNSUPPORTED, "hello: agent speaks protocol %d, not %d", reply.Protocol, wire.Protocol)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hello = reply
	return reply, nil
}

// Info is the reply of the last successful Hello, nil before it.
func (c *Client) Info() *wire.HelloReply {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hello
}

// Ping is one round trip to the agent.
func (c *Client) Ping(ctx context.Context) error {
	_, err := unary(ctx, c.agent.Ping, &wire.PingRequest{})
	return err
}

// Settle waits until the agent has loaded the modules of the devices that were there at boot.
func (c *Client) Settle(ctx context.Context) (*wire.SettleReply, error) {
	return unary(ctx, c.agent.Settle, &wire.SettleRequest{})
}

// Power asks for "off", "reboot", "halt", "suspend" (S3; returns after resume), "hibernate" (S4, the same) or "crash" (a
// kernel panic on purpose). The connection is usually lost before a reply; that is not an error here.
func (c *Client) Power(ctx context.Context, action string) error {
	_, err := unary(ctx, c.agent.Power, &wire.PowerRequest{Action: action})
	if wire.CodeOf(err) == wire.Code_LOST {
		return nil
	}
	return err
}

// unary makes a call whose reply is one message.
func unary[Q, R any](ctx context.Context, call func(context.Context, *Q) (*R, error), req *Q) (*R, error) {
	reply, err := call(ctx, req)
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, wire.FromStatus(err)
	}
	return reply, nil
}
