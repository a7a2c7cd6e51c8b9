package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// maxReply bounds the answer to CONNECT, "OK 4294967295\n".
const maxReply = 32

// DialHybrid connects to a guest's vsock port through the unix socket of its vsock device. ctx bounds the whole
// hand-shake. A guest that does not listen on port closes the connection, which shows as io.ErrUnexpectedEOF.
func DialHybrid(ctx context.Context, path string, port uint32) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("dial vsock device: %w", err)
	}
	stop := closeOn(ctx, conn)
	err = connect(conn, port)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, fmt.Errorf("connect port %d at %s: %w", port, path, err)
	}
	return conn, conn.SetDeadline(time.Time{})
}

func connect(conn net.Conn, port uint32) error {
	if _, err := fmt.Fprintf(conn, "CONNECT %d\n", port); err != nil {
		return err
	}
	line, err := readLine(conn)
	if err != nil {
		return err
	}
	return checkReply(line)
}

// readLine reads byte by byte: what follows the line belongs to the caller.
func readLine(r io.Reader) (string, error) {
	var line []byte
	b := make([]byte, 1)
	for len(line) < maxReply {
		if _, err := io.ReadFull(r, b); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return "", err
		}
		if b[0] == '\n' {
			return string(line), nil
		}
		line = append(line, b[0])
	}
	return "", fmt.Errorf("answer longer than %d bytes", maxReply)
}

func checkReply(line string) error {
	port, ok := strings.CutPrefix(line, "OK ")
	if !ok {
		return fmt.Errorf("answer %q", line)
	}
	if _, err := strconv.ParseUint(port, 10, 32); err != nil {
		return fmt.Errorf("answer %q: %w", line, err)
	}
	return nil
}
