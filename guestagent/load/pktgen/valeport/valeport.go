// Package valeport is pktgen's port on a switch that hostctl switch works: "vale0:01" attaches a new port of that name, to a
// switch that is made where there is none, and exchanges frames with it by memif. The port goes with its user, however that
// ends, and the switch with its last port, as with netmap's VALE.
//
// Names are valeSWITCH:PORT[,control=PATH][,size=N]: the control socket of the switch, and entries of a ring. Source of the
// requests: package hostctl/vale/ctl, which is HTTP.
package valeport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"picolab/guestagent/load/pktgen"
	"picolab/guestagent/load/pktgen/memifport"
)

// DefaultControl is where a switch is looked for, the default of vale-ctl as well.
const DefaultControl = "/run/vale.sock"

// ErrNoSwitch means that nobody works a switch at the control socket.
var ErrNoSwitch = errors.New("no switch is worked there (hostctl switch --control)")

// limits of a request: for all of it, and for the answer in bytes.
const (
	requestTime = 10 * time.Second
	answerSize  = 1 << 16
)

// Open attaches a port to a switch.
func Open(ctx context.Context, name string, use pktgen.Use) (pktgen.Port, error) {
	c, err := parse(name)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "pkt-gen")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) // nobody else is to connect; so nothing stays however this ends
	p := &port{config: c}
	if p.Port, err = p.open(ctx, filepath.Join(dir, "memif"), use); err != nil {
		return nil, err
	}
	return p, nil
}

// config is what a name tells.
type config struct{ name, control, size string }

func parse(text string) (config, error) {
	words := strings.Split(text, ",")
	c := config{name: words[0], control: DefaultControl}
	for _, w := range words[1:] {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "control":
			c.control = value
		case "size":
			c.size = ",size=" + value
		default:
			return c, fmt.Errorf("vale option %q: there are control=, size=", w)
		}
	}
	return c, nil
}

// port is a memif whose other end is a port of the switch.
type port struct {
	pktgen.Port
	config config
}

// open has the switch listen on a socket, and connects to it.
func (p *port) open(ctx context.Context, socket string, use pktgen.Use) (pktgen.Port, error) {
	err := p.request(ctx, "/attach", "name", p.config.name, "port", fmt.Sprintf("memif:%s,server,once,queues=%d", socket, use.Queues))
	if err != nil {
		return nil, err
	}
	m, err := memifport.Open(ctx, socket+p.config.size, use)
	if err != nil {
		return nil, errors.Join(err, p.detach())
	}
	return m, nil
}

// Kind implements pktgen.Port.
func (p *port) Kind() string { return "vale by memif" }

// Close detaches the port.
func (p *port) Close() error {
	return errors.Join(p.Port.Close(), p.detach())
}

// detach may come after the switch has done it by itself, or has ended.
func (p *port) detach() error {
	err := p.request(context.Background(), "/detach", "name", p.config.name)
	var answer *refused
	if errors.As(err, &answer) || errors.Is(err, ErrNoSwitch) {
		return nil
	}
	return err
}

// refused is an answer of the switch that is not its agreement.
type refused struct{ text string }

func (r *refused) Error() string { return r.text }

// request has the switch do something, with the given names and values. It is done by hand: the HTTP client of the standard
// library is as large as all of a small image's commands.
func (p *port) request(ctx context.Context, path string, query ...string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", p.config.control)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", p.config.control, ErrNoSwitch, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := fmt.Fprintf(conn, "POST %s?%s HTTP/1.0\r\nHost: vale\r\nContent-Length: 0\r\n\r\n", path, encode(query)); err != nil {
		return fmt.Errorf("ask %s: %w", p.config.control, err)
	}
	answer, err := io.ReadAll(io.LimitReader(conn, answerSize))
	if err != nil {
		return fmt.Errorf("ask %s: %w", p.config.control, err)
	}
	return understand(string(answer))
}

// understand reads an answer: its status, and the reason in the body.
func understand(answer string) error {
	head, body, _ := strings.Cut(answer, "\r\n\r\n")
	words := strings.Fields(head)
	switch {
	case len(words) < 2 || !strings.HasPrefix(words[0], "HTTP/1."):
		return fmt.Errorf("answer %.40q is not HTTP", answer)
	case strings.HasPrefix(words[1], "2"):
		return nil
	}
	return &refused{strings.TrimSpace(body)}
}

// encode makes a query of names and values.
func encode(query []string) string {
	var b strings.Builder
	for i, word := range query {
		b.WriteString([2]string{"&", "="}[i%2])
		for _, c := range []byte(word) {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return strings.TrimPrefix(b.String(), "&")
}
