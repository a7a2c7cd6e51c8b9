package ctl

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// Client works the switches behind a socket.
type Client struct{ Socket string }

// Status returns all switches.
func (c Client) Status(ctx context.Context) ([]Status, error) {
	body, err := c.do(ctx, http.MethodGet, "/status", nil, nil)
	if err != nil {
		return nil, err
	}
	var all []Status
	if err := json.Unmarshal(body, &all); err != nil {
		return nil, fmt.Errorf("read status: %w", err)
	}
	return all, nil
}

// Attach adds a port.
func (c Client) Attach(ctx context.Context, name, port string) error {
	_, err := c.do(ctx, http.MethodPost, "/attach", url.Values{"name": {name}, "port": {port}}, nil)
	return err
}

// Detach removes a port.
func (c Client) Detach(ctx context.Context, name string) error {
	_, err := c.do(ctx, http.MethodPost, "/detach", url.Values{"name": {name}}, nil)
	return err
}

// Set changes a port.
func (c Client) Set(ctx context.Context, name string, s Settings) error {
	b, err := json.Marshal(s)
	if err == nil {
		_, err = c.do(ctx, http.MethodPost, "/set", url.Values{"name": {name}}, b)
	}
	return err
}

func (c Client) do(ctx context.Context, method, path string, query url.Values, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://vale"+path+"?"+query.Encode(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", c.Socket)
	}}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", c.Socket, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", c.Socket, err)
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return nil, errors.New(strings.TrimSpace(string(text)))
	}
	return text, nil
}
