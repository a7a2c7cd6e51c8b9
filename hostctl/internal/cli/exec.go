package cli

import (
	"context"
	"errors"
	"io"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"picolab/guestagent/client"
	"picolab/guestagent/wire"
)

type execOptions struct {
	target  string
	argv    []string
	env     []string
	dir     string
	stdin   bool
	timeout time.Duration
}

func execCmd(e *Env) *cobra.Command {
	var o execOptions
	cmd := &cobra.Command{
		Use:   "exec LAB/GUEST|LAB/host -- COMMAND [ARGUMENT...]",
		Short: "Run a command in a guest or on the lab's own side",
		Long: `Runs the command without a shell, streams its output and returns its exit code:
126 when it cannot be started, 127 when it is not found, 128 + N for signal N.`,
		Example: `  hostctl exec lab/a -- ip addr
  hostctl exec lab/host -- ping -c 3 10.77.0.2
  echo hello | hostctl exec -i lab/a -- cat`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.target, o.argv = args[0], args[1:]
			if o.argv[0] == "--" { // kept, since flags end at the first argument
				o.argv = o.argv[1:]
			}
			if len(o.argv) == 0 {
				return usage("exec: no command given")
			}
			return execute(cmd.Context(), e, o)
		},
	}
	f := cmd.Flags()
	f.SetInterspersed(false)
	f.StringArrayVarP(&o.env, "env", "e", nil, "KEY=VALUE for the command; may be repeated")
	f.StringVarP(&o.dir, "directory", "C", "", "folder to run in")
	f.BoolVarP(&o.stdin, "stdin", "i", false, "pass standard input on")
	f.DurationVar(&o.timeout, "timeout", 0, "end the command after this time (default: the agent's limit)")
	return cmd
}

// Exit codes as shells give them.
const (
	exitNotRunnable = 126
	exitNotFound    = 127
)

func execute(ctx context.Context, e *Env, o execOptions) error {
	c, _, err := dialTarget(ctx, o.target)
	if err != nil {
		return err
	}
	defer c.Close()
	opts := client.ExecOptions{Argv: o.argv, Env: o.env, Dir: o.dir, Timeout: o.timeout, Stdout: e.Stdout, Stderr: e.Stderr, Limit: unlimited}
	if o.stdin {
		opts.Stdin = readerOnly{e.Stdin}
	}
	code, err := c.Exec(ctx, opts)
	switch {
	case errors.Is(err, syscall.ENOENT), wire.CodeOf(err) == wire.Code_NOT_FOUND:
		return &exitError{exitNotFound, err}
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.ENOEXEC):
		return &exitError{exitNotRunnable, err}
	case err != nil:
		return err
	case code != 0:
		return &exitError{code: code}
	}
	return nil
}

// unlimited is for people, who end what they have enough of.
const unlimited = 1 << 62

// readerOnly hides all methods but Read.
type readerOnly struct{ io.Reader }

// dialTarget connects to LAB/GUEST.
func dialTarget(ctx context.Context, text string) (*client.Client, target, error) {
	t, err := parseTarget(text)
	if err != nil {
		return nil, t, err
	}
	store, err := openStore()
	if err != nil {
		return nil, t, err
	}
	c, err := store.Agent(ctx, t.lab, t.endpoint)
	return c, t, err
}
