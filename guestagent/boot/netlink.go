package boot

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"os"

	"golang.org/x/sys/unix"
)

// netlinkSocket opens a socket on which the kernel sends messages of a protocol to the multicast groups of a mask (netlink(7)).
func netlinkSocket(protocol int, groups uint32) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	f := os.NewFile(uintptr(fd), "netlink")
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		f.Close()
		return nil, fmt.Errorf("bind netlink socket: %w", err)
	}
	return f, nil
}

// messages calls handle for each message until ctx ends. Messages that come faster than they are handled are lost.
func messages(ctx context.Context, f *os.File, handle func(msg []byte)) error {
	stop := context.AfterFunc(ctx, func() { f.Close() })
	defer stop()
	buf := make([]byte, 64<<10)
	for {
		n, err := f.Read(buf)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS): // some were lost
			continue
		case err != nil:
			return fmt.Errorf("read netlink socket: %w", err)
		}
		handle(buf[:n])
	}
}

// attributeKind is without the bits that tell of nesting and byte order (linux/netlink.h, NLA_TYPE_MASK).
const attributeKind = 0x3fff

// attributes are the kinds and values of netlink attributes (linux/netlink.h, struct nlattr), up to the first that does not
// fit.
func attributes(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= unix.NLA_HDRLEN {
			n := int(binary.NativeEndian.Uint16(b))
			if n < unix.NLA_HDRLEN || n > len(b) {
				return
			}
			if !yield(binary.NativeEndian.Uint16(b[2:])&attributeKind, b[unix.NLA_HDRLEN:n]) {
				return
			}
			b = b[min(len(b), (n+unix.NLA_ALIGNTO-1)&^(unix.NLA_ALIGNTO-1)):]
		}
	}
}

// attribute is the value of the first attribute of a kind, nil without one.
func attribute(b []byte, kind uint16) []byte {
	for k, value := range attributes(b) {
		if k == kind {
			return value
		}
	}
	return nil
}
