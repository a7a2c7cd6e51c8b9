// Package cli is labimage's command line: verbs, flags, messages, exit codes. Each verb has a file; it fills a plain
// options value and calls the library.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"picolab/images/assemble"
	"picolab/images/flash"
	"picolab/recipes/fetch"
)

// Env is what a run gets from the outside.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Args           []string // without the program's name
}

// Exit codes.
const (
	exitFailure     = 1
	exitUsage       = 2
	exitTrouble     = 2 // of diff, whose 1 is a result
	exitGone        = 3
	exitSize        = 4
	exitInterrupted = 130 // 128 + SIGINT, as shells have it
)

// verbs makes the commands below labimage, in the order of the help text.
var verbs = []func(*Env) *cobra.Command{newCommand, buildCommand, verifyCommand, lockCommand, lintCommand, recipesCommand, inspectCommand, diffCommand, diskCommand, flashCommand}

// usageError is a command line that makes no sense.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// Main runs labimage and returns its exit code.
func Main(ctx context.Context, env Env) int {
	root := rootCommand(&env)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	code := exitCode(ctx, err)
	var unfinished *flash.UnfinishedError
	switch {
	case errors.Is(err, errDiffer), errors.Is(err, errFindings): // said already
	case code == exitInterrupted && !errors.As(err, &unfinished):
		fmt.Fprintln(env.Stderr, "labimage: interrupted; nothing is half-written")
	case code == exitUsage && !errors.As(err, new(diffError)):
		fmt.Fprintf(env.Stderr, "%s: %v\nSee '%s --help'.\n", cmd.CommandPath(), err, cmd.CommandPath())
	default:
		fmt.Fprintf(env.Stderr, "%s %v\n", env.red("labimage:"), err)
	}
	return code
}

// exitCode is the class of an error.
func exitCode(ctx context.Context, err error) int {
	var usage usageError
	var gone *fetch.GoneError
	var size *assemble.SizeError
	var trouble diffError
	switch {
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return exitInterrupted
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &trouble):
		return exitTrouble
	case errors.As(err, &gone):
		return exitGone
	case errors.As(err, &size):
		return exitSize
	}
	return exitFailure
}

func rootCommand(e *Env) *cobra.Command {
	root := &cobra.Command{
		Use:   "labimage",
		Short: "Build lab images from recipes and check them",
		Long: `Labimage builds guest and host images from recipes: Debian packages named by a lock, each by its SHA-256, and one
busybox of Go commands. The same recipe and lock give the same bytes everywhere; no root is needed.`,
		Example: `  labimage new mine
  labimage build guest -o build/images/guest
  labimage build ./my-guest.yaml -o build/images/mine --mirror http://mirror.example/debian
  labimage verify build/images/guest`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("unknown verb %q", args[0])}
			}
			return nil
		},
		RunE: func(*cobra.Command, []string) error {
			return usageError{errors.New("a verb is missing: new, build, verify, lock, lint, recipes, inspect, diff, disk or flash")}
		},
	}
	root.SetArgs(e.Args)
	root.SetIn(e.Stdin)
	root.SetOut(e.Stdout)
	root.SetErr(e.Stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	for _, verb := range verbs {
		cmd := verb(e)
		for _, c := range append(cmd.Commands(), cmd) {
			c.Args = usageArgs(c.Args)
		}
		root.AddCommand(cmd)
	}
	return root
}

// usageArgs makes the complaint about positional arguments a usage error.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError{err}
		}
		return nil
	}
}

// terminal says whether w is one.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"
}

// red colours a word for error messages on a terminal, unless NO_COLOR (no-color.org) asks not to.
func (e *Env) red(s string) string {
	if !terminal(e.Stderr) || os.Getenv("NO_COLOR") != "" {
		return s
	}
	return "\x1b[31m" + s + "\x1b[0m"
}

// say tells what is being done, on the error output: the standard output is for results.
func (e *Env) say(format string, args ...any) {
	fmt.Fprintln(e.Stderr, strings.TrimRight(fmt.Sprintf(format, args...), "\n"))
}
