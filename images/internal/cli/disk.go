package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"picolab/images/disk"
	"picolab/images/manifest"
	"picolab/recipes"
)

// diskOptions are the flags of disk.
type diskOptions struct {
	image, output, format, layout, host, free string
	compress                                  bool
}

func diskCommand(e *Env) *cobra.Command {
	o := new(diskOptions)
	cmd := &cobra.Command{
		Use:   "disk IMAGEDIR -o FILE",
		Short: "Make a bootable disk of an image",
		Long: `Disk writes the image in IMAGEDIR (see labimage build) as one file that boots on PCs with a BIOS, with UEFI, and with
UEFI and Secure Boot, from a USB stick (see labimage flash) or as the disk of a virtual machine. It runs from memory.
No root is needed. The same image gives the same bytes.

The boot loaders are those of a host image: --host, else IMAGEDIR if it is one, else the folder named host beside it.
The disk's FAT partition can be read and written on any computer; --free is the room left on it.`,
		Example: `  labimage disk build/images/host -o host.img
  labimage disk build/images/guest -o guest.qcow2 --format qcow2 --host build/images/host
  labimage disk build/images/host -o old-pc.img --layout mbr --free "500 MB"`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeImages(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.image = args[0]
			return o.run(cmd.Context(), e)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.output, "output", "o", "", "`file` to write (required)")
	f.StringVar(&o.format, "format", string(disk.Raw), "`format` of the file: raw or qcow2")
	f.BoolVar(&o.compress, "compress", false, "compress the clusters of a qcow2")
	f.StringVar(&o.layout, "layout", string(disk.GPT), "partition `table`: gpt, or mbr for BIOSes that boot nothing else")
	f.StringVar(&o.host, "host", "", "`directory` of the host image that has the boot loaders")
	f.StringVar(&o.free, "free", "32 MiB", "`size` of the room left on the FAT partition")
	return cmd
}

func (o *diskOptions) run(ctx context.Context, e *Env) error {
	opt, err := o.plan()
	if err != nil {
		return err
	}
	began := time.Now()
	res, err := disk.Write(ctx, opt)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.Stdout, "%s: %s %s of %.1f MB, %.1f MB of files, id %s, in %.1f s\n",
		o.output, opt.Layout, opt.Format, float64(res.Size)/1e6, float64(res.Used)/1e6, res.GUID, time.Since(began).Seconds())
	return err
}

// plan checks the command line.
func (o *diskOptions) plan() (disk.Options, error) {
	opt := disk.Options{Output: o.output, Format: disk.Format(o.format), Layout: disk.Layout(o.layout), Pack: o.compress}
	switch {
	case o.output == "":
		return opt, usageError{errors.New("the output file is missing: -o FILE")}
	case opt.Format != disk.Raw && opt.Format != disk.QCOW2:
		return opt, usageError{fmt.Errorf("--format %q is neither raw nor qcow2", o.format)}
	case opt.Pack && opt.Format != disk.QCOW2:
		return opt, usageError{errors.New("--compress goes with --format qcow2")}
	case opt.Layout != disk.GPT && opt.Layout != disk.MBR:
		return opt, usageError{fmt.Errorf("--layout %q is neither gpt nor mbr", o.layout)}
	}
	var err error
	if opt.Free, err = recipes.Size(o.free).Bytes(); err != nil {
		return opt, usageError{fmt.Errorf("--free: %w", err)}
	}
	if st, err := os.Stat(o.output); err == nil && !st.Mode().IsRegular() {
		return opt, fmt.Errorf("%s is not a regular file; to write a device: labimage flash", o.output)
	}
	if opt.Image, err = manifest.Read(o.image); err != nil {
		return opt, err
	}
	opt.Loaders, err = o.loaders(opt.Image)
	return opt, err
}

// loaders finds the root filesystem with the boot loaders.
func (o *diskOptions) loaders(m *manifest.Manifest) (string, error) {
	switch {
	case o.host != "":
	case m.Root() != "" && disk.CheckLoaders(m.Root()) == nil:
		return m.Root(), nil
	default:
		abs, err := filepath.Abs(o.image)
		if err != nil {
			return "", err
		}
		o.host = filepath.Join(filepath.Dir(abs), "host")
		if _, err := os.Stat(o.host); errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("boot loaders come from a host image and %s is none; build it with `labimage build host -o DIR` and name it with --host DIR", o.host)
		}
	}
	h, err := manifest.Read(o.host)
	if err != nil {
		return "", err
	}
	if h.Root() == "" {
		return "", fmt.Errorf("--host %s is the image of a %s, not of a host", o.host, h.Kind)
	}
	return h.Root(), disk.CheckLoaders(h.Root())
}
