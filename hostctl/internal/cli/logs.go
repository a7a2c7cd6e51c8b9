package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"picolab/hostctl/internal/follow"
	"picolab/hostctl/internal/labs"
)

func logsCmd(e *Env) *cobra.Command {
	var wait bool
	cmd := &cobra.Command{
		Use:     "logs LAB[/GUEST]",
		Short:   "Print a lab's log or a guest's console",
		Example: "  hostctl logs lab\n  hostctl logs -f lab/a",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return logs(cmd.Context(), e, args[0], wait) },
	}
	cmd.Flags().BoolVarP(&wait, "follow", "f", false, "go on until the lab ends")
	return cmd
}

func logs(ctx context.Context, e *Env, what string, wait bool) error {
	name, guest, _ := strings.Cut(what, "/")
	store, err := openStore()
	if err != nil {
		return err
	}
	path, err := store.Log(name, guest)
	if err != nil {
		return err
	}
	if wait {
		return followLog(ctx, e.Stdout, store, name, path)
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("print log: %w", err)
	}
	defer f.Close()
	_, err = io.Copy(e.Stdout, f)
	return err
}

// followLog copies the file until the lab is gone or ctx ends.
func followLog(ctx context.Context, w io.Writer, store *labs.Store, name, path string) error {
	following, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		store.Watch(following, name)
		stop()
	}()
	return follow.Copy(following, path, w)
}
