// Package cli is hostctl's command line. Each verb has a file of its own, fills plain options from flags and calls a
// library; nothing else in hostctl knows of cobra.
package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// Env is what a command sees of the world.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Args           []string // without the program's name
}

// verbs are the subcommands in the order of the help text.
var verbs = []func(*Env) *cobra.Command{
	doctorCmd,
	upCmd, psCmd, execCmd, cpCmd, consoleCmd, logsCmd, downCmd, sweepCmd,
	listCmd, showCmd, runCmd, reportCmd, compareCmd, mergeCmd,
	switchCmd,
}

// Main runs one command and returns its exit code:
//
//	0    done; for catalogue runs: nothing failed
//	1    a guest or a test failed: what was examined is at fault
//	2    wrong usage, or a spec, selector or file that is wrong
//	3    the infrastructure failed: QEMU, an image, this machine, hostctl itself
//	130  interrupted
//
// exec returns the remote command's exit code; 126 and 127 stand for one that could not be started or was not found.
func Main(ctx context.Context, env Env) int {
	cmd := rootCmd(&env)
	err := cmd.ExecuteContext(ctx)
	code := exitCode(ctx, err)
	if err != nil && err.Error() != "" { // exec passes a code on without words
		fmt.Fprintln(env.Stderr, "hostctl: "+err.Error())
	}
	return code
}

func rootCmd(e *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "hostctl",
		Short: "Boot labs of virtual machines, work in them, run the test catalogue",
		Long: `hostctl boots guests under QEMU in a private set of namespaces, talks to an agent in
each of them over vsock, and runs the catalogue of tests on them.

Exit codes: 0 done, 1 a guest or a test failed, 2 wrong usage or bad spec,
3 infrastructure failed, 130 interrupted; exec gives the remote command's.

Environment: PICOLAB_IMAGES (folder with the images "guest" and "host"),
PICOLAB_CACHE, PICOLAB_RUN (folder of running labs).`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.SetArgs(e.Args)
	cmd.SetIn(e.Stdin)
	cmd.SetOut(e.Stdout)
	cmd.SetErr(e.Stderr)
	cmd.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usage("%s: %w", c.CommandPath(), err) })
	for _, verb := range verbs {
		cmd.AddCommand(withUsageErrors(verb(e)))
	}
	return cmd
}

// withUsageErrors makes a wrong number of arguments a usage error.
func withUsageErrors(cmd *cobra.Command) *cobra.Command {
	if check := cmd.Args; check != nil {
		cmd.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return usage("%s: %w\nusage: %s", c.CommandPath(), err, c.UseLine())
			}
			return nil
		}
	}
	return cmd
}
