package lab

import (
	"context"
	"errors"
	"net"
	"path/filepath"

	"picolab/guestagent/transport"
	"picolab/guestagent/wire"
	"picolab/hostctl/internal/probe"
	"picolab/hostctl/internal/qemu"
	"picolab/hostctl/vhostuser/vvsock"
)

const agentPort = wire.Port

// A vsockDevice gives one guest its vsock. It outlives the QEMU processes that attach to it one after another.
type vsockDevice interface {
	Dial(ctx context.Context, port uint32) (net.Conn, error)
	config() qemu.Vsock
	close() error
}

// noVsock is the device of a guest that has no agent.
type noVsock struct{}

func (noVsock) Dial(context.Context, uint32) (net.Conn, error) { return nil, errBare }
func (noVsock) config() qemu.Vsock                             { return qemu.Vsock{} }
func (noVsock) close() error                                   { return nil }

var errBare = errors.New("the guest has no agent")

// kernelVsock is vhost-vsock of this machine's kernel.
type kernelVsock struct{ cid uint32 }

func (k kernelVsock) Dial(ctx context.Context, port uint32) (net.Conn, error) {
	return transport.DialVsock(ctx, k.cid, port)
}
func (k kernelVsock) config() qemu.Vsock { return qemu.Vsock{Kind: "kernel", CID: k.cid} }
func (k kernelVsock) close() error       { return nil }

// userVsock is our own device in this process; QEMU connects to it by vhost-user.
type userVsock struct {
	*vvsock.Device
	socket string
	served chan error
}

func (u *userVsock) config() qemu.Vsock { return qemu.Vsock{Kind: "vhost-user", Socket: u.socket} }

func (u *userVsock) close() error {
	err := u.Device.Close()
	if served := <-u.served; err == nil {
		err = served
	}
	return err
}

// newVsock makes the device of v: the kernel's when it can be had.
func (l *Lab) newVsock(v *VM) (vsockDevice, error) {
	if probe.VhostVsockWorks() {
		return kernelVsock{cid: v.spec.CID}, nil
	}
	name := filepath.Join(l.sockets, v.spec.Name)
	d, err := vvsock.Listen(vvsock.Config{GuestCID: uint64(v.spec.CID), Socket: name + ".vsock", UDS: name + ".uds", Logf: l.env.Logf})
	if err != nil {
		return nil, infra("make vsock device of %s: %w", v.spec.Name, err)
	}
	u := &userVsock{Device: d, socket: name + ".vsock", served: make(chan error, 1)}
	go func() { u.served <- d.Serve(l.ctx) }()
	return u, nil
}
