package launch

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"time"

	"picolab/guestagent/client"
	"picolab/guestagent/transport"
	"picolab/guestagent/wire"
	"picolab/hostctl/internal/probe"
	"picolab/hostctl/internal/qemu"
	"picolab/hostctl/vhostuser/vvsock"
)

const agentPort = wire.Port

// Times of waiting for an agent.
const (
	helloTime = 30 * time.Minute       // an emulated machine in an emulated machine is fifty times slower
	helloTry  = time.Minute            // one connection and its Hello
	helloWait = 200 * time.Millisecond // between two tries
)

// vsock is a machine's vsock: the kernel's, or our device where the kernel has none. The nil vsock is none.
type vsock struct {
	cid    uint32
	device *vvsock.Device // nil: the kernel's
	socket string
	served chan error
}

func openVsock(dir string, cid uint32, log io.Writer) (*vsock, error) {
	if probe.VhostVsockWorks() {
		return &vsock{cid: cid}, nil
	}
	v := &vsock{cid: cid, socket: filepath.Join(dir, "vsock"), served: make(chan error, 1)}
	logf := func(format string, args ...any) { fmt.Fprintf(log, "launch-qemu: vsock: "+format+"\n", args...) }
	var err error
	if v.device, err = vvsock.Listen(vvsock.Config{GuestCID: uint64(cid), Socket: v.socket, Logf: logf}); err != nil {
		return nil, fmt.Errorf("make vsock device: %w", err)
	}
	go func() { v.served <- v.device.Serve(context.Background()) }()
	return v, nil
}

func (v *vsock) config() qemu.Vsock {
	switch {
	case v == nil:
		return qemu.Vsock{}
	case v.device == nil:
		return qemu.Vsock{Kind: "kernel", CID: v.cid}
	}
	return qemu.Vsock{Kind: "vhost-user", Socket: v.socket}
}

func (v *vsock) dial(ctx context.Context) (net.Conn, error) {
	if v.device != nil {
		return v.device.Dial(ctx, agentPort)
	}
	return transport.DialVsock(ctx, v.cid, agentPort)
}

// hello waits for the agent's answer.
func (v *vsock) hello(ctx context.Context, token string) (*wire.HelloReply, error) {
	return transport.Retry(ctx, helloWait, func(ctx context.Context) (*wire.HelloReply, error) {
		ctx, cancel := context.WithTimeout(ctx, helloTry)
		defer cancel()
		conn, err := v.dial(ctx)
		if err != nil {
			return nil, err
		}
		c := client.New(conn)
		defer c.Close()
		return c.Hello(ctx, token)
	})
}

// Close ends the device.
func (v *vsock) Close() {
	if v.device != nil {
		_ = v.device.Close() // nobody is left whom it could matter to
		<-v.served
	}
}
