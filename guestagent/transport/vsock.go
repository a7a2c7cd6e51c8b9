package transport

import (
	"context"
	"fmt"
	"net"

	"github.com/mdlayher/vsock"
)

// DialVsock connects to a guest's port through the kernel. A context that ends closes what is pending.
func DialVsock(ctx context.Context, cid, port uint32) (net.Conn, error) {
	conn, err := vsock.DialContext(ctx, cid, port, nil)
	if err != nil {
		return nil, fmt.Errorf("dial vsock %d:%d: %w", cid, port, err)
	}
	return conn, nil
}

// ListenVsock listens on port of every context id the guest has. Connections of peers other than the host are closed
// unseen: an agent bound to any context id can be reached from inside the guest too.
func ListenVsock(port uint32) (net.Listener, error) {
	l, err := vsock.ListenContextID(anyCID, port, nil)
	if err != nil {
		return nil, fmt.Errorf("listen on vsock port %d: %w", port, err)
	}
	return &hostOnly{Listener: l}, nil
}

// anyCID is VMADDR_CID_ANY: the guest's own id is not known before its device is probed and may change on restore.
const anyCID = 0xffffffff

// hostOnly is a listener that hands on connections of the host alone.
type hostOnly struct {
	net.Listener
}

func (l *hostOnly) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if FromHost(conn.RemoteAddr()) {
			return conn, nil
		}
		conn.Close()
	}
}

// FromHost says whether a connection's peer is the host: vsock with context id 2 and nothing else.
func FromHost(addr net.Addr) bool {
	a, ok := addr.(*vsock.Addr)
	return ok && a.ContextID == HostCID
}
