package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"picolab/images/flash"
)

// flashOptions are the flags of flash.
type flashOptions struct {
	list, yes, force bool
	serial           string
	system           flash.System
}

func flashCommand(e *Env) *cobra.Command {
	o := &flashOptions{system: flash.Machine{}}
	cmd := &cobra.Command{
		Use:   "flash IMAGE DEVICE",
		Short: "Write a disk to a USB stick and prove that it is there",
		Long: `Flash writes IMAGE, a raw disk (see labimage disk), to DEVICE, reads all of it back past the machine's memory and
compares. Everything on the device is lost.

It refuses what is not a whole, unused, writable device that is large enough, and fixed disks: those that are neither
removable nor USB nor memory cards; --force lifts this last guard and no other. Then it shows model, serial and size,
and asks for the device's name. Scripts give the serial instead: --yes --serial=SERIAL. Without the word "verified" at
the end the device must not be used; run again.`,
		Example: `  labimage flash --list
  labimage flash host.img /dev/sdb
  labimage flash host.img /dev/disk/by-id/usb-SanDisk_Ultra_4C5300-0:0 --yes --serial=4C5300`,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case o.list && len(args) > 0:
				return errors.New("--list takes no arguments")
			case !o.list && len(args) != 2:
				return fmt.Errorf("IMAGE and DEVICE are needed, %d given", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.list {
				return o.table(e)
			}
			return o.run(cmd.Context(), e, args[0], args[1])
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.list, "list", false, "show the devices, and why those refused are")
	f.BoolVar(&o.yes, "yes", false, "do not ask; needs --serial")
	f.StringVar(&o.serial, "serial", "", "the device's `serial` as --list shows it")
	f.BoolVar(&o.force, "force", false, "allow a fixed disk")
	return cmd
}

func (o *flashOptions) table(e *Env) error {
	list, err := o.system.List()
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(e.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "DEVICE\tSIZE\tBUS\tMODEL\tSERIAL\tSTATE")
	for _, d := range list {
		state := "can be flashed"
		if err := flash.Check(d, 0, false); err != nil {
			state = "refused: " + reason(err)
		}
		fmt.Fprintf(w, "%s\t%.1f GB\t%s\t%s\t%s\t%s\n", d.Path, float64(d.Size)/1e9, d.Bus, d.Model, d.ID(), state)
	}
	return w.Flush()
}

func reason(err error) string {
	var r *flash.RefusedError
	if errors.As(err, &r) {
		return r.Reason
	}
	return err.Error()
}

func (o *flashOptions) run(ctx context.Context, e *Env, image, device string) error {
	if o.yes != (o.serial != "") {
		return usageError{errors.New("--yes and --serial belong together: the serial says which device is meant")}
	}
	opt := flash.Options{Image: image, Device: device, Force: o.force, Confirm: o.confirm(e), Progress: progress(e)}
	rep, err := flash.Flash(ctx, o.system, opt)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.Stdout, "%s: verified, %.1f MB, sha256 %s (written in %.1f s, read back in %.1f s)\n",
		rep.Device.Path, float64(rep.Bytes)/1e6, rep.SHA256, rep.Write.Seconds(), rep.Verify.Seconds())
	return err
}

// confirm shows the device and has a person type its name, unless the command line has its serial.
func (o *flashOptions) confirm(e *Env) func(flash.Device, *flash.Image) error {
	if o.yes {
		return flash.Confirmed(o.serial)
	}
	return func(d flash.Device, img *flash.Image) error {
		e.say("%s\nEverything on it will be lost; %s (%.1f MB) is written.", d, img.Path, float64(img.Size)/1e6)
		fmt.Fprintf(e.Stderr, "Type %s to go on: ", d.Name)
		answer, err := bufio.NewReader(e.Stdin).ReadString('\n')
		if err != nil && err != io.EOF {
			return fmt.Errorf("read the answer: %w", err)
		}
		if strings.TrimSpace(answer) != d.Name {
			return errors.New("not confirmed; nothing was written")
		}
		return nil
	}
}

// progress shows a line that changes on a terminal, else a line every two seconds.
func progress(e *Env) func(flash.Progress) {
	var last time.Time
	onTerminal := terminal(e.Stderr)
	return func(p flash.Progress) {
		line := fmt.Sprintf("%-6s %3d%% of %.1f MB, %.1f MB/s, %.0f s left", p.Stage, 100*p.Done/p.Total, float64(p.Total)/1e6, p.Rate/1e6, p.Left.Seconds())
		switch {
		case onTerminal && p.Done == p.Total:
			fmt.Fprintf(e.Stderr, "\r%s\x1b[K\n", line)
		case onTerminal:
			fmt.Fprintf(e.Stderr, "\r%s\x1b[K", line)
		case p.Done == p.Total || time.Since(last) > 2*time.Second:
			last = time.Now()
			fmt.Fprintln(e.Stderr, line)
		}
	}
}
