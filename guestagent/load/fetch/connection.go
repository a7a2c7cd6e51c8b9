package fetch

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// errAnswer is an answer that asking again does not change.
var errAnswer = errors.New("unexpected answer")

// target is where a file lies.
type target struct{ host, path string }

func parse(url string) (target, error) {
	rest, ok := strings.CutPrefix(url, "http://")
	host, path, _ := strings.Cut(rest, "/")
	if !ok || host == "" || strings.ContainsAny(rest, " \r\n") {
		return target{}, fmt.Errorf("%q is not http://address:port/path", url)
	}
	if _, _, err := net.SplitHostPort(host); err != nil {
		host = net.JoinHostPort(host, "80")
	}
	return target{host: host, path: "/" + path}, nil
}

// connection is one to the server; it is made when it is needed.
type connection struct {
	d    *download
	conn net.Conn
	r    *bufio.Reader
}

func (c *connection) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// get asks for the bytes from from to to, or to the end of the file, writes what comes to the file, and says how much that
// was. After an error the connection is closed.
func (c *connection) get(ctx context.Context, from, to int64) (n int64, err error) {
	if err := c.open(ctx); err != nil {
		return 0, err
	}
	stop := context.AfterFunc(ctx, func() { c.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	c.alive(ctx)
	_, err = fmt.Fprintf(c.conn, "GET %s HTTP/1.1\r\nHost: %s\r\nRange: bytes=%d-%d\r\n\r\n", c.d.at.path, c.d.at.host, from, to-1)
	if err != nil {
		return 0, err
	}
	length, err := c.answer(from)
	if err != nil {
		return 0, err
	}
	return c.body(ctx, from, length)
}

func (c *connection) open(ctx context.Context) error {
	if c.conn != nil {
		return nil
	}
	d := net.Dialer{Timeout: c.d.o.Idle}
	conn, err := d.DialContext(ctx, "tcp", c.d.at.host)
	if err != nil {
		return err
	}
	c.conn, c.r = conn, bufio.NewReaderSize(conn, 64<<10)
	return nil
}

// alive gives the connection its time anew; one whose download has ended gets none.
func (c *connection) alive(ctx context.Context) {
	c.conn.SetDeadline(time.Now().Add(c.d.o.Idle))
	if ctx.Err() != nil {
		c.conn.SetDeadline(time.Unix(1, 0))
	}
}

// answer reads the head of an answer, and returns how many bytes follow.
func (c *connection) answer(from int64) (length int64, err error) {
	status, err := c.line()
	if err != nil {
		return 0, err
	}
	if !strings.HasPrefix(status, "HTTP/1.1 206 ") {
		return 0, fmt.Errorf("%w: %q", errAnswer, status)
	}
	length = -1
	for {
		line, err := c.line()
		if err != nil {
			return 0, err
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch {
		case line == "" && length < 0:
			return 0, fmt.Errorf("%w: no length", errAnswer)
		case line == "":
			return length, nil
		case strings.EqualFold(name, "Content-Length"):
			length, err = strconv.ParseInt(value, 10, 64)
		case strings.EqualFold(name, "Content-Range"):
			err = c.place(value, from)
		}
		if err != nil {
			return 0, fmt.Errorf("%w: %q: %w", errAnswer, line, err)
		}
	}
}

// place looks at "bytes 0-99/1000".
func (c *connection) place(value string, from int64) error {
	var first, last, size int64
	if _, err := fmt.Sscanf(value, "bytes %d-%d/%d", &first, &last, &size); err != nil {
		return err
	}
	if first != from {
		return fmt.Errorf("begins at %d, not at %d", first, from)
	}
	return c.d.sized(size)
}

// line reads one of the head; they are short.
func (c *connection) line() (string, error) {
	b, err := c.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", fmt.Errorf("%w: a line of more than %d bytes", errAnswer, c.r.Size())
	}
	return strings.TrimRight(string(b), "\r\n"), err
}

// body copies to the file as it comes.
func (c *connection) body(ctx context.Context, at, length int64) (n int64, err error) {
	buf := make([]byte, 32<<10)
	for n < length {
		c.alive(ctx)
		k, err := c.r.Read(buf[:min(int64(len(buf)), length-n)])
		if _, werr := c.d.file.WriteAt(buf[:k], at+n); werr != nil {
			return n, fmt.Errorf("%w: %w", errAnswer, werr)
		}
		n += int64(k)
		if err == io.EOF && n < length {
			err = io.ErrUnexpectedEOF
		}
		if err != nil && n < length {
			return n, err
		}
	}
	return n, nil
}
