package virtiouser

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Requests of the protocol, and what this front-end knows of features.
const (
	getFeatures         = 1
	setFeatures         = 2
	setOwner            = 3
	setMemTable         = 5
	setVringNum         = 8
	setVringAddr        = 9
	setVringBase        = 10
	getVringBase        = 11
	setVringKick        = 12
	setVringCall        = 13
	getProtocolFeatures = 15
	setProtocolFeatures = 16
	getQueueNum         = 17
	setVringEnable      = 18
	setStatus           = 39

	featureMrgRxbuf = 1 << 15
	featureMQ       = 1 << 22
	featureProtocol = 1 << 30
	featureVersion1 = 1 << 32
	featurePacked   = 1 << 34

	protocolMQ       = 1 << 0
	protocolReplyAck = 1 << 3
	protocolStatus   = 1 << 16

	statusFeaturesOK = 1 | 2 | 8 // ACKNOWLEDGE, DRIVER, FEATURES_OK (virtio 1.2 section 2.1)
	statusDriverOK   = statusFeaturesOK | 4

	headerBytes = 12
	version     = 1
	flagReply   = 4
	needReply   = 8
)

// redial is the time between attempts to connect.
const redial = 20 * time.Millisecond

// conn is the connection to a back-end.
type conn struct {
	*net.UnixConn
	protocol uint64 // features negotiated
}

// connect finds a back-end, until ctx ends: one that listens at path, or for a server the first that connects there.
func connect(ctx context.Context, path string, server bool) (*conn, error) {
	if server {
		return accept(ctx, path)
	}
	for {
		uc, err := new(net.Dialer).DialContext(ctx, "unix", path)
		if err == nil {
			return &conn{UnixConn: uc.(*net.UnixConn)}, nil
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(redial):
		}
	}
}

func accept(ctx context.Context, path string) (*conn, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	defer l.Close()
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, func() { _ = l.SetDeadline(time.Unix(1, 0)) })()
	uc, err := l.AcceptUnix()
	if err != nil {
		return nil, fmt.Errorf("no back-end came: %w", errors.Join(ctx.Err(), err))
	}
	return &conn{UnixConn: uc}, nil
}

// send sends a request.
func (c *conn) send(request, flags uint32, payload []byte, fds ...int) error {
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	b := append(words32(request, version|flags, uint32(len(payload))), payload...)
	if _, _, err := c.WriteMsgUnix(b, rights, nil); err != nil {
		return fmt.Errorf("send request %d: %w", request, err)
	}
	return nil
}

// reply reads the answer to a request, whose payload has n bytes. Descriptors, of which none are due, are not taken.
func (c *conn) reply(request uint32, n int) ([]byte, error) {
	b := make([]byte, headerBytes+n)
	if _, err := io.ReadFull(c, b); err != nil {
		return nil, fmt.Errorf("reply to request %d: %w", request, err)
	}
	flags, size := binary.LittleEndian.Uint32(b[4:]), binary.LittleEndian.Uint32(b[8:])
	if binary.LittleEndian.Uint32(b) != request || flags&(flagReply|3) != flagReply|version || size != uint32(n) {
		return nil, fmt.Errorf("reply to request %d: header %x", request, b[:headerBytes])
	}
	return b[headerBytes:], nil
}

// ask sends a request that is answered with a number.
func (c *conn) ask(request uint32) (uint64, error) {
	if err := c.send(request, 0, nil); err != nil {
		return 0, err
	}
	b, err := c.reply(request, 8)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(b), nil
}

// do sends a request and, where that was negotiated, waits until it is done.
func (c *conn) do(request uint32, payload []byte, fds ...int) error {
	if c.protocol&protocolReplyAck == 0 {
		return c.send(request, 0, payload, fds...)
	}
	if err := c.send(request, needReply, payload, fds...); err != nil {
		return err
	}
	b, err := c.reply(request, 8)
	if err != nil {
		return err
	}
	if v := binary.LittleEndian.Uint64(b); v != 0 {
		return fmt.Errorf("request %d: refused (%d)", request, v)
	}
	return nil
}

// negotiate agrees on features, want at most and need at least, and returns what was agreed on.
func (c *conn) negotiate(want, need uint64, pairs int) (uint64, error) {
	offered, err := c.ask(getFeatures)
	if err != nil {
		return 0, err
	}
	if missing := need &^ offered; missing != 0 {
		return 0, fmt.Errorf("the back-end lacks features %#x of %#x", missing, offered)
	}
	protocol, err := c.ask(getProtocolFeatures)
	if err != nil {
		return 0, err
	}
	protocol &= protocolMQ | protocolReplyAck | protocolStatus
	if err := c.send(setProtocolFeatures, 0, word64(protocol)); err != nil {
		return 0, err
	}
	c.protocol = protocol
	if pairs > 1 {
		if err := c.checkPairs(pairs); err != nil {
			return 0, err
		}
	}
	if err := c.do(setOwner, nil); err != nil {
		return 0, err
	}
	return want & offered, c.do(setFeatures, word64(want&offered))
}

// checkPairs asks whether there are as many pairs of queues.
func (c *conn) checkPairs(pairs int) error {
	if c.protocol&protocolMQ == 0 {
		return errors.New("the back-end has one pair of queues")
	}
	n, err := c.ask(getQueueNum)
	if err == nil && n < uint64(pairs) {
		err = fmt.Errorf("the back-end has %d pairs of queues", n)
	}
	return err
}

// status tells how far the driver is, to a back-end that wants to know.
func (c *conn) status(v uint64) error {
	if c.protocol&protocolStatus == 0 {
		return nil
	}
	return c.do(setStatus, word64(v))
}

// start hands a ring to the device.
func (c *conn) start(index uint32, r ring, size int, kick, call int) error {
	return errors.Join(
		c.do(setVringNum, words32(index, uint32(size))),
		c.do(setVringBase, words32(index, r.base())),
		c.do(setVringAddr, r.address(index)),
		c.do(setVringCall, word64(uint64(index)), call),
		c.do(setVringKick, word64(uint64(index)), kick),
	)
}

// stop takes a ring back from the device, which leaves it alone from then on.
func (c *conn) stop(index uint32) error {
	if err := c.send(getVringBase, 0, words32(index, 0)); err != nil {
		return err
	}
	_, err := c.reply(getVringBase, 8)
	return err
}

// gone reports whether the back-end has hung up. It does not wait.
func (c *conn) gone() bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return true
	}
	ended := false
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		ended = n == 0 && err == nil || err != nil && err != unix.EAGAIN && err != unix.EINTR
	})
	return ended || err != nil
}
