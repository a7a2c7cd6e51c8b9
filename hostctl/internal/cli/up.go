package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"picolab/hostctl/internal/labs"
	"picolab/hostctl/internal/place"
	"picolab/hostctl/lab"
)

type upOptions struct {
	file, name, images, accel, out string
	image                          string
	guests, cpus, memory           int
	nics                           []string
	json, quiet                    bool
}

// defaultLink is what guests described by flags join.
var defaultLink = lab.Link{Name: "lan", Host: netip.MustParsePrefix("10.77.0.1/24")}

func upCmd(e *Env) *cobra.Command {
	var o upOptions
	cmd := &cobra.Command{
		Use:   "up [SPEC.yaml]",
		Short: "Boot a lab and leave it running",
		Long: `Boots the guests of a spec, or as many as --guests says, each with one NIC per --nic
on the link "lan" (host address 10.77.0.1/24) or behind QEMU's user network, and
returns once every guest's agent has answered and its cards are up with the addresses
that ps shows (behind the user network 10.0.2.15). Two labs cannot have one name.

A NIC's backend is tap, vale (our own switch, which needs neither /dev/net/tun nor
root: vhost-user for virtio, a socket for other models), vhost-user (the same, for
virtio only) or user; without one it is tap where a tap can be made, else vale.`,
		Example: `  hostctl up --guests 2 --nic virtio-net-pci
  hostctl up --guests 1 --nic e1000@user --nic virtio-net-pci,mq=on --name pair
  hostctl up --guests 2 --nic virtio-net-pci,packed=on@vale --nic e1000@vale
  hostctl up lab.yaml -o evidence`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				o.file = args[0]
			}
			return up(cmd.Context(), e, o)
		},
	}
	f := cmd.Flags()
	imagesFlag(cmd, &o.images)
	f.StringVar(&o.name, "name", "", "the lab's name (default: the spec's, else \"lab\")")
	f.IntVar(&o.guests, "guests", 1, "number of guests, called a, b, c, ...; without a spec")
	f.StringArrayVar(&o.nics, "nic", nil, "MODEL[,option=value...][@BACKEND] for every guest; may be repeated")
	f.StringVar(&o.image, "image", "", "image of every guest (default \"guest\")")
	f.IntVar(&o.cpus, "cpus", 0, "CPUs of every guest (default 1)")
	f.IntVar(&o.memory, "memory", 0, "memory of every guest in MiB (default 512)")
	f.StringVar(&o.accel, "accel", "", "auto, kvm or tcg (default: the spec's, else auto)")
	f.StringVarP(&o.out, "output", "o", "", "folder for consoles, captures and command lines (default: kept until down)")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "do not tell what is waited for")
	f.BoolVar(&o.json, "json", false, "print the lab's state as JSON")
	return cmd
}

func up(ctx context.Context, e *Env, o upOptions) error {
	spec, err := o.spec()
	if err != nil {
		return err
	}
	p, err := place.New(o.images)
	if err != nil {
		return err
	}
	store, err := openStore()
	if err != nil {
		return err
	}
	opts := labs.UpOptions{Spec: spec, Place: p, Out: o.out, Progress: e.Stderr}
	if o.quiet {
		opts.Progress = nil
	}
	state, err := store.Up(ctx, opts)
	if err != nil {
		return err
	}
	if o.json {
		return json.NewEncoder(e.Stdout).Encode(state)
	}
	_, err = fmt.Fprintf(e.Stdout, "lab %s is up: %s\n", state.Name, strings.Join(guestNames(state), " "))
	return err
}

func guestNames(s labs.State) []string {
	var names []string
	for _, g := range s.Guests {
		names = append(names, s.Name+"/"+g.Name)
	}
	return names
}

// spec is the file's or the flags', with what flags override.
func (o upOptions) spec() (lab.Spec, error) {
	var s lab.Spec
	var err error
	if o.file != "" {
		s, err = readSpec(o.file)
	} else {
		s, err = o.fromFlags()
	}
	if err != nil {
		return s, err
	}
	if o.name != "" {
		s.Name = o.name
	}
	if o.accel != "" {
		s.Accel = o.accel
	}
	if err := s.Validate(); err != nil {
		return s, err
	}
	return s, nil
}

// readSpec decodes YAML (JSON is YAML too). Unknown fields are errors; all errors show line and column.
func readSpec(path string) (lab.Spec, error) {
	var s lab.Spec
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, usage("read spec: %w", err)
	}
	if err != nil {
		return s, fmt.Errorf("read spec: %w", err)
	}
	defer f.Close()
	if err := yaml.NewDecoder(f, yaml.Strict()).Decode(&s); err != nil {
		return s, usage("read spec %s: %w", path, err)
	}
	if s.Name == "" {
		s.Name = strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	}
	return s, nil
}

func (o upOptions) fromFlags() (lab.Spec, error) {
	s := lab.Spec{Name: "lab"}
	if o.guests < 1 || o.guests > 26 {
		return s, usage("--guests %d is not between 1 and 26", o.guests)
	}
	for i := range o.guests {
		g := lab.Guest{Name: string(rune('a' + i)), Image: o.image, CPUs: o.cpus, MemoryMiB: o.memory}
		for _, text := range o.nics {
			nic, err := parseNIC(text)
			if err != nil {
				return s, err
			}
			g.NICs = append(g.NICs, nic)
		}
		s.Guests = append(s.Guests, g)
	}
	s.Links = []lab.Link{defaultLink}
	return s, nil
}

// parseNIC reads MODEL[,option=value...][@BACKEND].
func parseNIC(text string) (lab.NIC, error) {
	device, where, at := strings.Cut(text, "@")
	model, options, _ := strings.Cut(device, ",")
	n := lab.NIC{Model: model, Link: defaultLink.Name}
	if options != "" {
		n.Options = strings.Split(options, ",")
	}
	switch {
	case model == "":
		return n, usage("--nic %q names no model", text)
	case at && where == lab.BackendUser:
		n.Link, n.Backend = "", where
	case at && (where == lab.BackendTap || where == lab.BackendVale || where == lab.BackendVhostUser):
		n.Backend = where
	case at:
		return n, usage("--nic %q: after @ may stand tap, vale, vhost-user, user", text)
	}
	return n, nil
}
