package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"picolab/images/assemble"
	"picolab/images/disk"
	"picolab/images/manifest"
	"picolab/initramfs/bb"
)

// verifyOptions are the flags of verify.
type verifyOptions struct {
	dir, recipe, lock, mirror, cache, source string
	offline, keep, json                      bool
}

func verifyCommand(e *Env) *cobra.Command {
	o := new(verifyOptions)
	cmd := &cobra.Command{
		Use:   "verify DIR",
		Short: "Build an image again, differently, and compare every byte",
		Long: `Verify builds the image in DIR a second time and compares the two byte for byte, as they are on disk, the bill of materials, the unpacked root filesystem and the disk that it makes included. The second build has another folder,
copy of the sources, umask, time zone, language, home and number of CPUs, and cold caches; only verified downloads are
used again. The first difference is named down to the file inside the archive. It takes about a minute.`,
		Example: `  labimage verify build/images/guest
  labimage verify /srv/images/mine --recipe ./mine.yaml`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeImages(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.dir = args[0]
			return o.run(cmd.Context(), e)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.recipe, "recipe", "", "`recipe` of the image (default: the embedded one of its name)")
	f.StringVar(&o.lock, "lock", "", "lock `file` (default: the recipe's)")
	f.StringVar(&o.mirror, "mirror", "", "`URL` of the Debian archive")
	f.StringVar(&o.cache, "cache", "", "`directory` of the store of downloads")
	f.StringVar(&o.source, "source", "", "picolab's source `tree`")
	f.BoolVar(&o.offline, "offline", false, "do not use the network")
	f.BoolVar(&o.keep, "keep", false, "keep the second build and say where it is")
	f.BoolVar(&o.json, "json", false, "write the result as JSON")
	return cmd
}

// verdict is the result of verify for machines.
type verdict struct {
	Image string  `json:"image"`
	Equal bool    `json:"equal"`
	File  string  `json:"file,omitempty"`
	Path  string  `json:"path,omitempty"`
	What  string  `json:"what,omitempty"`
	Took  float64 `json:"seconds"`
}

func (o *verifyOptions) run(ctx context.Context, e *Env) error {
	began := time.Now()
	m, err := manifest.Read(o.dir)
	if err != nil {
		return err
	}
	err = o.compare(ctx, e, m)
	var diff *assemble.DifferenceError
	if o.json && (err == nil || errors.As(err, &diff)) {
		v := verdict{Image: m.Name, Equal: err == nil, Took: time.Since(began).Seconds()}
		if diff != nil {
			v.File, v.Path, v.What = diff.File, diff.Path, diff.What
		}
		return errors.Join(json.NewEncoder(e.Stdout).Encode(v), err)
	}
	if err != nil {
		return fmt.Errorf("verify %s: %w", o.dir, err)
	}
	_, err = fmt.Fprintf(e.Stdout, "%s %s: two builds are identical (%.1f s)\n", m.Name, m.ID[:12], time.Since(began).Seconds())
	return err
}

// compare checks the image, builds the second one in a scratch folder and compares.
func (o *verifyOptions) compare(ctx context.Context, e *Env, m *manifest.Manifest) error {
	scratch, err := os.MkdirTemp("", "labimage verify-") // with a space, to be unlike any usual folder
	if err != nil {
		return err
	}
	if o.keep {
		e.say("the second build is in %s", scratch)
	} else {
		defer assemble.RemoveAll(scratch)
	}
	second := filepath.Join(scratch, "second", m.Name)
	if err := o.rebuild(ctx, e, m, scratch, second); err != nil {
		return err
	}
	err = assemble.Compare(ctx, o.dir, second)
	var diff *assemble.DifferenceError
	if errors.As(err, &diff) && diff.Path == bb.Dir+"/bb" {
		e.say("note: were the sources changed after the image was built? Then build it again first.")
	}
	if err != nil || m.RootFS == nil || m.Kernel() == "" {
		return err
	}
	return compareDisks(ctx, o.dir, second, scratch)
}

// compareDisks writes the disk of each build, with the boot loaders that it has itself.
func compareDisks(ctx context.Context, a, b, scratch string) error {
	var sums [2]string
	for i, dir := range []string{a, b} {
		m, err := manifest.Read(dir)
		if err != nil {
			return err
		}
		out := filepath.Join(scratch, fmt.Sprintf("disk%d.img", i))
		if _, err := disk.Write(ctx, disk.Options{Image: m, Loaders: m.Root(), Output: out}); err != nil {
			return err
		}
		if _, sums[i], err = manifest.HashFile(ctx, out); err != nil {
			return err
		}
	}
	if sums[0] != sums[1] {
		return &assemble.DifferenceError{File: "disk", What: "SHA-256 " + sums[0] + ", " + sums[1]}
	}
	return nil
}

// rebuild runs this program again under other circumstances.
func (o *verifyOptions) rebuild(ctx context.Context, e *Env, m *manifest.Manifest, scratch, out string) error {
	module, err := findSource(o.source)
	if err != nil {
		return err
	}
	source := filepath.Join(scratch, "source")
	if err := copySource(ctx, module, source); err != nil {
		return fmt.Errorf("copy the sources: %w", err)
	}
	lockFile, err := o.findLock(m, scratch)
	if err != nil {
		return err
	}
	cache, err := o.storeDir()
	if err != nil {
		return err
	}
	env, err := otherEnvironment(ctx, module, scratch)
	if err != nil {
		return err
	}
	args := []string{"build", o.recipeName(m), "--output", out, "--lock", lockFile, "--source", source,
		"--derived", filepath.Join(scratch, "derived"), "--umask", "077", "--cache", cache, "--mirror", o.mirror}
	if o.offline {
		args = append(args, "--offline")
	}
	return runAgain(ctx, scratch, env, args)
}
