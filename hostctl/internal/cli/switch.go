package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"picolab/hostctl/internal/switchboard"
)

type switchOptions struct {
	ports      []string
	socketPath string
	fd         int
	control    string
	json       bool
	print      bool
}

func switchCmd(e *Env) *cobra.Command {
	var o switchOptions
	cmd := &cobra.Command{
		Use:   "switch",
		Short: "Work a switch between guests, taps and sockets",
		Long: `Works learning switches, in user space and without privileges, until SIGTERM or
SIGINT. Ports are [NAME=]KIND:ARGUMENT. NAME is valeSWITCH:PORT, by default vale0:1
and on; ports of one switch see each other. The kinds:

` + switchboard.Kinds + `

--socket-path, --fd and --print-capabilities are those of every vhost-user
back-end. The control socket is worked with vale-ctl, or with HTTP: /status is
JSON, /metrics is Prometheus' text format.`,
		Example: `  hostctl switch --port vhost-user:/run/a.sock --port stream:/run/b.sock --control /run/vale.sock
  hostctl switch --port vale0:1=tap:tap0 --port vale0:2=vhost-user:/run/a.sock,queues=2
  curl --unix-socket /run/vale.sock http://vale/metrics`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runSwitch(cmd.Context(), e, o) },
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.ports, "port", nil, "a port, as above; may be repeated")
	f.StringVar(&o.socketPath, "socket-path", "", "the same as --port vhost-user:PATH")
	f.IntVar(&o.fd, "fd", -1, "the same as --port vhost-user:fd=N")
	f.StringVar(&o.control, "control", "", "path of the control socket")
	f.BoolVar(&o.json, "json", false, "print the state as a line of JSON when all ports are there, and at the end")
	f.BoolVar(&o.print, "print-capabilities", false, "print what this back-end is, as JSON, and exit")
	return cmd
}

func runSwitch(ctx context.Context, e *Env, o switchOptions) error {
	if o.print {
		_, err := fmt.Fprintln(e.Stdout, switchboard.Capabilities)
		return err
	}
	if o.socketPath != "" && o.fd >= 0 {
		return usage("hostctl switch: --socket-path and --fd exclude each other")
	}
	ports := o.ports
	if o.socketPath != "" {
		ports = append(ports, "vhost-user:"+o.socketPath)
	}
	if o.fd >= 0 {
		ports = append(ports, fmt.Sprintf("vhost-user:fd=%d", o.fd))
	}
	if len(ports) == 0 && o.control == "" {
		return usage("hostctl switch: no --port, and no --control to attach one by")
	}
	err := switchboard.Serve(ctx, switchboard.ServeOptions{
		Ports: ports, Control: o.control, JSON: o.json, Out: e.Stdout,
		Logf: func(format string, args ...any) { fmt.Fprintf(e.Stderr, format+"\n", args...) },
	})
	if errors.Is(err, switchboard.ErrUsage) {
		return &exitError{exitUsage, err}
	}
	return err
}
