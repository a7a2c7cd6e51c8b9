package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"picolab/guestagent/client"
)

func cpCmd(e *Env) *cobra.Command {
	var quiet bool
	cmd := &cobra.Command{
		Use:   "cp SRC LAB/GUEST:PATH | LAB/GUEST:PATH DST",
		Short: "Copy a file into or out of a guest",
		Long: `Copies one regular file with its permissions. The SHA-256 is computed on both sides;
the copy appears under its name only when they agree. A DST that ends in "/" or is
a folder keeps the file's name.`,
		Example: "  hostctl cp ./tool lab/a:/bin/tool\n  hostctl cp lab/a:/proc/kmsg.txt ./",
		Args:    cobra.ExactArgs(2),
		RunE:    func(cmd *cobra.Command, args []string) error { return cp(cmd.Context(), e, args[0], args[1], quiet) },
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print nothing")
	return cmd
}

// copied is the outcome of a copy.
type copied struct {
	bytes int64
	sum   string // SHA-256, hex
	took  time.Duration
}

func cp(ctx context.Context, e *Env, src, dst string, quiet bool) error {
	from, fromPath, fromRemote := splitRemote(src)
	to, toPath, toRemote := splitRemote(dst)
	if fromRemote == toRemote {
		return usage("cp: exactly one of %q and %q must be LAB/GUEST:PATH", src, dst)
	}
	name := from
	if toRemote {
		name = to
	}
	c, _, err := dialTarget(ctx, name)
	if err != nil {
		return err
	}
	defer c.Close()
	var done copied
	if toRemote {
		done, err = putFile(ctx, e, c, fromPath, toPath, quiet)
	} else {
		done, err = getFile(ctx, e, c, fromPath, toPath, quiet)
	}
	if err != nil || quiet {
		return err
	}
	rate := float64(done.bytes) / 1e6 / max(done.took.Seconds(), 1e-6)
	_, err = fmt.Fprintf(e.Stdout, "%d bytes, %.1f MB/s, SHA-256 %s\n", done.bytes, rate, done.sum)
	return err
}

// splitRemote reads LAB/GUEST:PATH. A local path that looks like one is written with "./" in front.
func splitRemote(s string) (endpoint, file string, remote bool) {
	endpoint, file, ok := strings.Cut(s, ":")
	if !ok || strings.HasPrefix(s, "/") || strings.HasPrefix(s, ".") || strings.Count(endpoint, "/") != 1 {
		return "", s, false
	}
	return endpoint, file, true
}

func putFile(ctx context.Context, e *Env, c *client.Client, src, dst string, quiet bool) (copied, error) {
	f, err := os.Open(src)
	if errors.Is(err, fs.ErrNotExist) {
		return copied{}, usage("cp: %w", err)
	}
	if err != nil {
		return copied{}, fmt.Errorf("copy: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return copied{}, fmt.Errorf("copy: %w", err)
	}
	if !info.Mode().IsRegular() {
		return copied{}, usage("cp: %s is not a regular file", src)
	}
	if strings.HasSuffix(dst, "/") || isRemoteDir(ctx, c, dst) {
		dst = path.Join(dst, filepath.Base(src))
	}
	bar := progress(e, info.Size(), quiet)
	began := time.Now()
	n, sum, err := c.Put(ctx, dst, uint32(info.Mode().Perm()), io.TeeReader(f, bar))
	if err != nil {
		return copied{}, fmt.Errorf("copy %s: %w", src, err)
	}
	return copied{n, sum, time.Since(began)}, nil
}

// statDir is S_IFDIR of inode(7) within st_mode's S_IFMT.
const (
	statType = 0o170000
	statDir  = 0o040000
)

func isRemoteDir(ctx context.Context, c *client.Client, name string) bool {
	info, err := c.Stat(ctx, name)
	return err == nil && info.GetMode()&statType == statDir
}

// getFile writes beside the target and renames, so that a broken copy never has the target's name.
func getFile(ctx context.Context, e *Env, c *client.Client, src, dst string, quiet bool) (copied, error) {
	info, err := c.Stat(ctx, src)
	if err != nil {
		return copied{}, fmt.Errorf("copy %s: %w", src, err)
	}
	if local, err := os.Stat(dst); err == nil && local.IsDir() || strings.HasSuffix(dst, "/") {
		dst = filepath.Join(dst, path.Base(src))
	}
	f, err := os.CreateTemp(filepath.Dir(dst), "."+filepath.Base(dst)+".*")
	if err != nil {
		return copied{}, fmt.Errorf("copy %s: %w", src, err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	bar := progress(e, info.GetSize(), quiet)
	began := time.Now()
	n, sum, err := c.Get(ctx, src, io.MultiWriter(f, bar))
	if err != nil {
		return copied{}, fmt.Errorf("copy %s: %w", src, err)
	}
	took := time.Since(began)
	if err := errors.Join(f.Chmod(fs.FileMode(info.GetMode()).Perm()), f.Close(), os.Rename(f.Name(), dst)); err != nil {
		return copied{}, fmt.Errorf("copy %s: %w", src, err)
	}
	return copied{n, sum, took}, nil
}

// progress shows a bar on a terminal and nothing elsewhere.
func progress(e *Env, size int64, quiet bool) io.Writer {
	f, ok := e.Stderr.(*os.File)
	if quiet || !ok || !term.IsTerminal(int(f.Fd())) {
		return io.Discard
	}
	return progressbar.NewOptions64(size, progressbar.OptionSetWriter(f), progressbar.OptionShowBytes(true), progressbar.OptionClearOnFinish())
}
