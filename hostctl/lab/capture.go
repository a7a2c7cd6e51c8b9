package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"picolab/guestagent/client"
)

// A Capture records one link to a pcapng file.
type Capture struct {
	Path string
	stop func(context.Context) (client.CaptureStats, error)
}

// StartCapture records every frame that passes the link to file, which is relative to the lab's Dir. It returns once frames
// are being recorded.
func (l *Lab) StartCapture(ctx context.Context, link, file string) (*Capture, error) {
	n := l.Link(link)
	if n == nil {
		return nil, &SpecError{Problems: []string{fmt.Sprintf("no link is called %q", link)}}
	}
	path := file
	if !filepath.IsAbs(path) {
		path = filepath.Join(l.env.Dir, file)
	}
	if n.sw != nil {
		return n.startCapture(path)
	}
	c, err := l.host.Capture(ctx, client.CaptureOptions{Link: n.bridge, Path: path, Promisc: true})
	if err != nil {
		return nil, infra("capture link %s: %w", link, err)
	}
	return &Capture{Path: path, stop: c.Stop}, nil
}

// startCapture is StartCapture of a switch.
func (n *Network) startCapture(path string) (*Capture, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, infra("capture link %s: %w", n.Name(), err)
	}
	stop, err := n.record(f, RecordOptions{})
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Capture{Path: path, stop: func(ctx context.Context) (client.CaptureStats, error) {
		stats, err := stop(ctx)
		return stats, errors.Join(err, f.Close())
	}}, nil
}

// Stop ends the recording; the file is complete when it returns.
func (c *Capture) Stop(ctx context.Context) (client.CaptureStats, error) {
	stats, err := c.stop(ctx)
	if err != nil {
		return stats, infra("end capture %s: %w", c.Path, err)
	}
	return stats, nil
}

// startCaptures records the links whose spec asks for it, from before the first guest's first frame.
func (l *Lab) startCaptures(ctx context.Context) error {
	for _, n := range l.links {
		if !n.spec.Capture {
			continue
		}
		if _, err := l.evidence("links"); err != nil {
			return err
		}
		c, err := l.StartCapture(ctx, n.Name(), filepath.Join("links", n.Name()+".pcapng"))
		if err != nil {
			return err
		}
		l.undo.push("end capture of "+n.Name(), func(ctx context.Context) error {
			_, err := c.Stop(ctx)
			return errors.Join(err)
		})
	}
	return nil
}
