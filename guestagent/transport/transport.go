// Package transport makes the connections an agent is reached by: AF_VSOCK, and the hybrid convention of a unix socket
// on which "CONNECT port\n" is answered with "OK port\n" (Firecracker's and our vhost-user-vsock device's).
//
// A connection is not a living agent: a vsock dial can succeed with no listener behind it. Use Retry around dial and
// Hello together.
package transport

import (
	"context"
	"fmt"
	"net"
	"time"
)

// HostCID is the context id of the host a guest runs on (vsock(7), VMADDR_CID_HOST).
const HostCID = 2

// Retry calls up until it succeeds or ctx ends, pausing between tries for the time given. The error is the last try's.
func Retry[T any](ctx context.Context, pause time.Duration, up func(context.Context) (T, error)) (T, error) {
	for {
		v, err := up(ctx)
		if err == nil {
			return v, nil
		}
		select {
		case <-ctx.Done():
			var zero T
			return zero, fmt.Errorf("%w (last try: %w)", context.Cause(ctx), err)
		case <-time.After(pause):
		}
	}
}

// closeOn closes conn's pending operation when ctx ends, until stop is called.
func closeOn(ctx context.Context, conn net.Conn) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
}
