package switchboard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"picolab/hostctl/vale"
	"picolab/hostctl/vale/ctl"
	"picolab/hostctl/vhostuser"
)

// Capabilities is what --print-capabilities prints (QEMU docs/interop/vhost-user.json).
const Capabilities = `{"type": "net"}`

// ServeOptions are what `hostctl switch` is told.
type ServeOptions struct {
	Ports   []string // [NAME=]TEXT; TEXT is for Open, NAME such as vale0:1 is counted up when absent
	Control string   // path of the control socket, none if empty
	JSON    bool     // on Out: the state, a line when ready and one at the end
	Out     io.Writer
	Logf    func(format string, args ...any)
}

// ErrUsage is the error of ports that nobody can make as described.
var ErrUsage = errors.New("bad port")

// Serve works switches until ctx ends, and then returns nil.
func Serve(ctx context.Context, o ServeOptions) (err error) {
	b := &Board{Switches: vale.Set{Options: vale.Options{Logf: o.Logf}}, Options: vhostuser.Options{Logf: o.Logf}}
	defer func() { err = errors.Join(err, b.Switches.Close()) }()
	if err := b.attachAll(o.Ports); err != nil {
		return err
	}
	stop, err := b.control(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if err := b.report(o); err != nil {
		return err
	}
	<-ctx.Done()
	return b.report(o)
}

// attachAll attaches ports; those without a name are vale0:1 and on.
func (b *Board) attachAll(ports []string) error {
	for i, text := range ports {
		name, port := fmt.Sprintf("%s0:%d", vale.Prefix, i+1), text
		if n, rest, ok := strings.Cut(text, "="); ok && strings.HasPrefix(n, vale.Prefix) {
			name, port = n, rest
		}
		if err := b.Attach(name, port); err != nil {
			return fmt.Errorf("%w: %w", ErrUsage, err)
		}
	}
	return nil
}

// report prints the state.
func (b *Board) report(o ServeOptions) error {
	if !o.JSON {
		return nil
	}
	return json.NewEncoder(o.Out).Encode(b.Status())
}

// headerTimeout bounds how long a client of the control socket may take to ask.
const headerTimeout = 5 * time.Second

// control serves the control socket. stop removes it.
func (b *Board) control(o ServeOptions) (stop func() error, err error) {
	if o.Control == "" {
		return func() error { return nil }, nil
	}
	l, err := listenControl(o.Control)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	srv := &http.Server{Handler: ctl.Handler(b), ReadHeaderTimeout: headerTimeout}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	return func() error {
		err := srv.Close()
		if e := <-done; !errors.Is(e, http.ErrServerClosed) {
			err = errors.Join(err, e)
		}
		return err
	}, nil
}

// listenControl replaces a socket that nobody listens on any more. Only this user may connect.
func listenControl(path string) (net.Listener, error) {
	if st, err := os.Lstat(path); err == nil && st.Mode()&os.ModeSocket != 0 {
		c, err := net.Dial("unix", path)
		if err == nil {
			_ = c.Close()
			return nil, fmt.Errorf("%s is in use", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}
