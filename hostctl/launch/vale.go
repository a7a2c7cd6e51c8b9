package launch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"picolab/hostctl/internal/place"
	"picolab/hostctl/internal/proc"
	"picolab/hostctl/vale/ctl"
)

// switchTime is how long a switch may take to answer after its start.
const switchTime = 10 * time.Second

// valePorts are the ports of VALE switches that a machine has; they go with it.
type valePorts struct {
	client ctl.Client
	names  []string
}

// controlSocket is where vale-ctl finds the switches, too.
func controlSocket() string {
	if os.Geteuid() != 0 || os.Getenv("PICOLAB_RUN") != "" {
		return filepath.Join(place.RunDir(), "vale.sock")
	}
	return ctl.DefaultSocket
}

// openVale makes the ports of all cards on VALE switches. As with the original, the first port makes the switch.
func openVale(ctx context.Context, cards []Card, sockets string, log io.Writer) (*valePorts, error) {
	v := &valePorts{client: ctl.Client{Socket: controlSocket()}}
	for _, c := range cards {
		if c.Backend != "vale" {
			continue
		}
		if err := v.open(ctx, c, socket(c, sockets), log); err != nil {
			return nil, errors.Join(fmt.Errorf("--vale %s: %w", c.Index, err), v.Close())
		}
	}
	return v, nil
}

func (v *valePorts) open(ctx context.Context, c Card, path string, log io.Writer) error {
	if err := v.needSwitch(ctx, log); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	kind := "stream:"
	if strings.HasPrefix(c.Model, "virtio-net") {
		kind = "vhost-user:"
	}
	name := "vale0:" + c.Index
	if err := v.client.Attach(ctx, name, kind+path); err != nil {
		return err
	}
	v.names = append(v.names, name)
	return nil
}

// needSwitch starts hostctl switch when nobody works switches yet. It outlives this process: other machines use it.
func (v *valePorts) needSwitch(ctx context.Context, log io.Writer) error {
	if _, err := v.client.Status(ctx); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(v.client.Socket), 0o755); err != nil {
		return err
	}
	p, err := proc.Start(context.WithoutCancel(ctx), proc.Cmd{
		Path: "hostctl", Args: []string{"switch", "--control", v.client.Socket}, Detach: true,
		Log: func(line string) { fmt.Fprintln(log, "launch-qemu: starts", line) },
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, switchTime)
	defer cancel()
	for {
		_, err := v.client.Status(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.Done():
			return fmt.Errorf("hostctl switch ended: %w", errors.Join(p.Wait(), err))
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Close takes the ports away.
func (v *valePorts) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), switchTime)
	defer cancel()
	var errs []error
	for _, name := range v.names {
		errs = append(errs, v.client.Detach(ctx, name))
	}
	v.names = nil
	return errors.Join(errs...)
}
