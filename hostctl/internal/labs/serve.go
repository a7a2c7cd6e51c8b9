package labs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"picolab/hostctl/lab"
)

// The control socket (mode 0700 folder: only its owner gets there) takes one request line a connection:
//
//	STATE            answers "OK", then State as JSON
//	AGENT NAME       answers "OK TOKEN", then is a connection to the guest's agent; NAME "host" is the lab's own side
//	CONSOLE NAME     answers "OK", then is the guest's console
//	WATCH            answers "OK" when the lab is down
//	DOWN             takes the lab down, then as WATCH
//
// A request that fails is answered with "ERROR text", one for a guest that is not in the lab with "UNKNOWN".
const (
	maxRequest     = 128
	requestTimeout = 10 * time.Second // for the line to arrive
)

// serve answers requests until somebody asks for the end or ctx ends.
func (k *keeper) serve(ctx context.Context, l *lab.Lab) int {
	ctx, k.signal = context.WithCancel(ctx)
	k.down, k.gone = make(chan struct{}), make(chan struct{})
	listener, err := net.Listen("unix", filepath.Join(insideState, "control.sock"))
	if err != nil {
		reply(result{Class: classInfra, Error: "listen: " + err.Error()})
		return 1
	}
	k.mu.Lock()
	k.lab, k.phase = l, Up
	k.mu.Unlock()
	k.save()
	k.conns.Go(func() { k.accept(ctx, listener) })
	if err := reply(result{State: snapshot(l, Up)}); err != nil {
		logf("nobody waits for this lab: %v", err)
		listener.Close()
		return 1
	}
	select {
	case <-k.down:
		logf("asked to go down")
	case <-ctx.Done():
		logf("told to end")
	}
	listener.Close()
	return 0
}

// bye lets the requests that wait for the end go, and waits until all connections are closed.
func (k *keeper) bye() {
	close(k.gone)
	k.signal()
	k.conns.Wait()
}

func (k *keeper) accept(ctx context.Context, listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		k.conns.Go(func() {
			defer conn.Close()
			if err := k.handle(ctx, conn); errors.Is(err, ErrNoGuest) {
				io.WriteString(conn, "UNKNOWN\n")
			} else if err != nil {
				fmt.Fprintf(conn, "ERROR %s\n", strings.ReplaceAll(err.Error(), "\n", " "))
			}
		})
	}
}

func (k *keeper) handle(ctx context.Context, conn net.Conn) error {
	conn.SetReadDeadline(time.Now().Add(requestTimeout))
	request, err := readLine(conn)
	if err != nil {
		return fmt.Errorf("read request: %w", err)
	}
	conn.SetReadDeadline(time.Time{})
	verb, name, _ := strings.Cut(request, " ")
	switch verb {
	case "STATE":
		return k.state(conn)
	case "AGENT":
		return k.agent(ctx, conn, name)
	case "CONSOLE":
		return k.console(ctx, conn, name)
	case "WATCH":
		return k.watch(conn)
	case "DOWN":
		k.once.Do(func() { close(k.down) })
		return k.watch(conn)
	}
	return fmt.Errorf("unknown request %q", verb)
}

func (k *keeper) state(conn net.Conn) error {
	if _, err := io.WriteString(conn, "OK\n"); err != nil {
		return nil
	}
	json.NewEncoder(conn).Encode(snapshot(k.lab, Up)) // who hangs up early does not want it
	return nil
}

// watch answers once the lab is gone; it ends when the asker hangs up, too.
func (k *keeper) watch(conn net.Conn) error {
	hangup := make(chan struct{})
	k.conns.Go(func() {
		defer close(hangup)
		io.Copy(io.Discard, conn)
	})
	select {
	case <-k.gone:
		io.WriteString(conn, "OK\n")
	case <-hangup:
	}
	return nil
}

// readLine reads one line without taking a byte more: what follows may belong to somebody else.
func readLine(r io.Reader) (string, error) {
	var line []byte
	for b := make([]byte, 1); len(line) < maxRequest; {
		if _, err := io.ReadFull(r, b); err != nil {
			return "", err
		}
		if b[0] == '\n' {
			return string(line), nil
		}
		line = append(line, b[0])
	}
	return "", errors.New("line too long")
}

func (k *keeper) agent(ctx context.Context, conn net.Conn, name string) error {
	var token string
	var peer net.Conn
	var err error
	if name == HostEndpoint {
		peer, err = k.lab.DialHost()
	} else if v := k.lab.Guest(name); v == nil {
		return ErrNoGuest
	} else {
		token = v.Token()
		peer, err = v.Dial(ctx)
	}
	if err != nil {
		return err
	}
	defer peer.Close()
	if _, err := fmt.Fprintf(conn, "OK %s\n", token); err != nil {
		return nil
	}
	join(ctx, conn, peer)
	return nil
}

func (k *keeper) console(ctx context.Context, conn net.Conn, name string) error {
	v := k.lab.Guest(name)
	if v == nil {
		return ErrNoGuest
	}
	if _, err := io.WriteString(conn, "OK\n"); err != nil {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	typing := make(chan struct{})
	go func() {
		defer close(typing)
		defer cancel()
		io.Copy(v.Console(), conn)
	}()
	v.Console().Attach(ctx, conn)
	conn.Close()
	<-typing
	return nil
}

// join copies between two connections until both directions have ended or ctx does.
func join(ctx context.Context, a, b net.Conn) {
	stop := context.AfterFunc(ctx, func() { a.Close(); b.Close() })
	defer stop()
	var group sync.WaitGroup
	group.Go(func() { pipe(a, b) })
	pipe(b, a)
	group.Wait()
}

// pipe copies from src to dst and passes the end on.
func pipe(dst, src net.Conn) {
	io.Copy(dst, src)
	if half, ok := dst.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		return
	}
	dst.Close()
}

// HostEndpoint is the name of the lab's own side among the guests' names.
const HostEndpoint = "host"
