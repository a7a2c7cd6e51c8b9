package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func consoleCmd(e *Env) *cobra.Command {
	return &cobra.Command{
		Use:     "console LAB/GUEST",
		Short:   "Attach to a guest's console; Ctrl-] lets go",
		Example: "  hostctl console lab/a\n  hostctl console lab/a < /dev/null   # only watch",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return console(cmd.Context(), e, args[0]) },
	}
}

// escape is Ctrl-], as telnet has it.
const escape = 0x1d

func console(ctx context.Context, e *Env, text string) error {
	t, err := parseTarget(text)
	if err != nil {
		return err
	}
	store, err := openStore()
	if err != nil {
		return err
	}
	conn, err := store.Console(ctx, t.lab, t.endpoint)
	if err != nil {
		return err
	}
	defer conn.Close()
	restore, err := rawTerminal(e)
	if err != nil {
		return err
	}
	defer restore()
	attach(ctx, e, conn)
	return nil
}

// rawTerminal hands every key to the guest when standard input is a terminal.
func rawTerminal(e *Env) (restore func(), err error) {
	f, ok := e.Stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return func() {}, nil
	}
	fmt.Fprintln(e.Stderr, "attached; Ctrl-] lets go")
	old, err := term.MakeRaw(int(f.Fd()))
	if err != nil {
		return nil, fmt.Errorf("set terminal: %w", err)
	}
	return func() {
		term.Restore(int(f.Fd()), old)
		fmt.Fprintln(e.Stderr)
	}, nil
}

// attach copies both ways until the escape key, the end of ctx, or the guest's end. The end of input is not the end: with
// standard input empty the console is shown until it closes or one presses Ctrl-C.
func attach(ctx context.Context, e *Env, conn net.Conn) {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	go func() { // ends with the process at the latest: a read of a terminal cannot be interrupted
		if typeInto(conn, e.Stdin) {
			conn.Close()
		}
	}()
	io.Copy(e.Stdout, conn)
}

// typeInto copies keys to w and says whether the escape key ended it.
func typeInto(w io.Writer, keys io.Reader) bool {
	buf := make([]byte, 256)
	for {
		n, err := keys.Read(buf)
		before, _, escaped := bytes.Cut(buf[:n], []byte{escape})
		if _, werr := w.Write(before); werr != nil || escaped {
			return true
		}
		if err != nil {
			return false
		}
	}
}
