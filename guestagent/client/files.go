package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"

	"picolab/guestagent/wire"
)

// ReadFile reads a whole file of at most 64 MiB, sysfs and procfs files too.
func (c *Client) ReadFile(ctx context.Context, path string) ([]byte, error) {
	var b bytes.Buffer
	_, _, err := c.get(ctx, &wire.GetStart{Path: path, Limit: 64 << 20}, &b)
	return b.Bytes(), err
}

// WriteFile writes a file, atomically when it is a regular one (0 mode = 0644), in place below /sys, /proc and /dev.
func (c *Client) WriteFile(ctx context.Context, path string, mode uint32, data []byte) error {
	_, _, err := c.Put(ctx, path, mode, bytes.NewReader(data))
	return err
}

// Get copies a file from the endpoint to w. n and sum (SHA-256, hex) are of what was written and agree with the agent's
// own figures.
func (c *Client) Get(ctx context.Context, path string, w io.Writer) (n int64, sum string, err error) {
	return c.get(ctx, &wire.GetStart{Path: path}, w)
}

func (c *Client) get(ctx context.Context, start *wire.GetStart, w io.Writer) (n int64, sum string, err error) {
	s, err := open[wire.GetInput, wire.GetOutput](ctx, c, c.agent.Get, &wire.GetInput{Kind: &wire.GetInput_Start{Start: start}})
	if err != nil {
		return 0, "", err
	}
	defer s.done()
	h := sha256.New()
	w = io.MultiWriter(h, w)
	for {
		m, err := s.recv()
		if err != nil {
			return n, "", err
		}
		if d := m.GetDone(); d != nil {
			return n, hex.EncodeToString(h.Sum(nil)), sameSum("get "+start.Path, d, n, h.Sum(nil))
		}
		k, err := w.Write(m.GetData())
		n += int64(k)
		if err != nil {
			return n, "", wire.Errorf(wire.Code_INTERNAL, "get %s: write: %w", start.Path, err)
		}
		if err := s.consumed(func(a *wire.Ack) *wire.GetInput { return &wire.GetInput{Kind: &wire.GetInput_Ack{Ack: a}} }); err != nil {
			return n, "", err
		}
	}
}

func sameSum(what string, d *wire.FileSum, n int64, sum []byte) error {
	if d.Bytes != n || !bytes.Equal(d.Sha256, sum) {
		return wire.Errorf(wire.Code_INTERNAL, "%s: agent has %d bytes with SHA-256 %x, client %d with %x", what, d.Bytes, d.Sha256, n, sum)
	}
	return nil
}

// Put copies r to a file of the endpoint: the file appears, whole, only when the agent has verified its SHA-256. Below
// /sys, /proc and /dev it is written in place.
func (c *Client) Put(ctx context.Context, path string, mode uint32, r io.Reader) (n int64, sum string, err error) {
	p, err := c.openPut(ctx, path, mode)
	if err != nil {
		return 0, "", err
	}
	defer p.close()
	h := sha256.New()
	n, err = p.copy(io.TeeReader(r, h))
	if err != nil {
		return n, "", err
	}
	return n, hex.EncodeToString(h.Sum(nil)), p.finish(&wire.FileSum{Bytes: n, Sha256: h.Sum(nil)})
}

// Stat describes a file, not following a symbolic link.
func (c *Client) Stat(ctx context.Context, path string) (*wire.FileInfo, error) {
	return unary(ctx, c.agent.Stat, &wire.PathRequest{Path: path})
}

// List lists a folder, sorted by name.
func (c *Client) List(ctx context.Context, path string) ([]*wire.FileInfo, error) {
	r, err := unary(ctx, c.agent.List, &wire.PathRequest{Path: path})
	if err != nil {
		return nil, err
	}
	return r.Files, nil
}

// Remove removes a file or an empty folder; with all everything below too.
func (c *Client) Remove(ctx context.Context, path string, all bool) error {
	_, err := unary(ctx, c.agent.Remove, &wire.RemoveRequest{Path: path, All: all})
	return err
}

// Mkdir makes a folder and its parents; one that is there is not an error.
func (c *Client) Mkdir(ctx context.Context, path string, mode uint32) error {
	_, err := unary(ctx, c.agent.Mkdir, &wire.MkdirRequest{Path: path, Mode: mode})
	return err
}
