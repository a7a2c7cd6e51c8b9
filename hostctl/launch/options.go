package launch

import (
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"picolab/guestagent/load/getopt"
)

const manual = `usage: launch-qemu {qemu|kvm} [BACKEND INDEX [--nic MODEL]]... [option...]

Starts a virtual machine and prints the QEMU command that does it, ready to be
pasted. The machine's console is this terminal: Ctrl-A X ends the machine,
Ctrl-A C changes to QEMU's monitor and back, Ctrl-C goes to the machine (and
ends it when this is no terminal). "qemu" emulates the processor, "kvm" not.

back-ends, each gives the machine a network card:
  --tap INDEX         the interface tapINDEX; prep-taps makes tap01 and tap02
  --netuser INDEX     QEMU's own network: the guest reaches out, nobody in
  --vale INDEX        port vale0:INDEX of a VALE switch, made on first use
  --vhost-user INDEX  the vhost-user socket INDEX.sock of a switch, or a path
  --nic MODEL         the card of the back-end before it: e1000 (default),
                      virtio-net-pci (default for vhost-user), rtl8139, ...;
                      properties follow after commas.
                      virtio-net-pci,vhost=on uses the kernel's vhost-net

options:
  --image guest|self|DIR  what to boot: the guest image (default), the very
                      image that runs here, or an image of labimage
  --cpus N            processors (default 1)
  --memory MIB        memory (default 512 for a guest, 1536 for a host image)
  --append WORDS      more kernel arguments
  --shell=false       no shell on the console
  --wait              wait until the agent in the machine answers, print its
                      Hello, and end the machine
  --dry-run           make the files, print the command, and start nothing

examples:
  launch-qemu kvm --tap 01
  launch-qemu qemu --vale 02 --nic virtio-net-pci --cpus 2
  launch-qemu qemu --netuser 01 --image self
`

// Options are a machine as the user asked for it.
type Options struct {
	KVM    bool
	Cards  []Card
	Image  string // "guest", "self" or a folder
	CPUs   int
	Memory int    // MiB; 0 = by the image
	Append string // kernel arguments
	Shell  bool
	Wait   bool
	DryRun bool
	help   bool
}

// Card is a network card and what it is connected to.
type Card struct {
	Backend    string // tap, netuser, vale or vhost-user
	Index      string
	Model      string
	Properties []string // name=value
	Vhost      bool     // the kernel's vhost-net, of a tap
}

// ParseOptions reads the arguments after the command's name.
func ParseOptions(args []string) (Options, error) {
	o := Options{Image: "guest", CPUs: 1, Shell: true}
	if len(args) == 0 || slices.Contains([]string{"-h", "-help", "--help"}, args[0]) {
		o.help = true
		return o, nil
	}
	switch args[0] {
	case "kvm":
		o.KVM = true
	case "qemu":
	default:
		return o, fmt.Errorf("the first argument is qemu or kvm, not %q; %w", args[0], getopt.ErrUsage)
	}
	f := flag.NewFlagSet("launch-qemu", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	for _, b := range []string{"tap", "netuser", "vale", "vhost-user"} {
		f.Func(b, "", func(index string) error { return o.addCard(b, index) })
	}
	f.Func("nic", "", o.setModel)
	f.StringVar(&o.Image, "image", o.Image, "")
	f.IntVar(&o.CPUs, "cpus", o.CPUs, "")
	f.IntVar(&o.Memory, "memory", 0, "")
	f.StringVar(&o.Append, "append", "", "")
	f.BoolVar(&o.Shell, "shell", o.Shell, "")
	f.BoolVar(&o.Wait, "wait", false, "")
	f.BoolVar(&o.DryRun, "dry-run", false, "")
	f.BoolVar(&o.help, "help", false, "")
	if err := f.Parse(args[1:]); err != nil {
		return o, fmt.Errorf("%w; %w", err, getopt.ErrUsage)
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q; %w", f.Arg(0), getopt.ErrUsage)
	}
	return o, o.check()
}

func (o *Options) check() error {
	switch {
	case o.CPUs < 1 || o.CPUs > 255:
		return fmt.Errorf("--cpus %d is not of 1 to 255; %w", o.CPUs, getopt.ErrUsage)
	case o.Memory < 0 || o.Memory > 0 && o.Memory < 64:
		return fmt.Errorf("--memory %d: a machine needs 64 MiB at least; %w", o.Memory, getopt.ErrUsage)
	case o.Image == "":
		return fmt.Errorf("--image is empty; %w", getopt.ErrUsage)
	}
	for i := range o.Cards {
		if err := o.Cards[i].complete(); err != nil {
			return fmt.Errorf("%w; %w", err, getopt.ErrUsage)
		}
	}
	return nil
}

// addCard adds the card of a back-end.
func (o *Options) addCard(backend, index string) error {
	if backend == "vhost-user" && strings.Contains(index, "/") {
		o.Cards = append(o.Cards, Card{Backend: backend, Index: index})
		return nil
	}
	if n, err := strconv.Atoi(index); err != nil || n < 0 || len(index) > 3 || index[0] == '-' || index[0] == '+' {
		return fmt.Errorf("an index is a number such as 01, not %q", index)
	}
	o.Cards = append(o.Cards, Card{Backend: backend, Index: index})
	return nil
}

// setModel gives the last card its model.
func (o *Options) setModel(value string) error {
	if len(o.Cards) == 0 {
		return fmt.Errorf("there is no back-end before it")
	}
	c := &o.Cards[len(o.Cards)-1]
	if c.Model != "" {
		return fmt.Errorf("the back-end before it has a card already, %s", c.Model)
	}
	words := strings.Split(value, ",")
	c.Model = words[0]
	if c.Model == "virtio" || c.Model == "virtio-net" {
		c.Model = "virtio-net-pci"
	}
	for _, w := range words[1:] {
		if w == "vhost=on" || w == "vhost=off" { // of the netdev, where users of QEMU look for it
			c.Vhost = w == "vhost=on"
			continue
		}
		if !strings.Contains(w, "=") {
			return fmt.Errorf("%q is no property, such as mitigation=off", w)
		}
		c.Properties = append(c.Properties, w)
	}
	return nil
}

// complete fills in the default model and refuses what cannot be.
func (c *Card) complete() error {
	virtio := strings.HasPrefix(c.Model, "virtio-net")
	switch {
	case c.Backend == "vhost-user" && c.Model == "":
		c.Model = "virtio-net-pci"
	case c.Backend == "vhost-user" && !virtio:
		return fmt.Errorf("--vhost-user %s: the card is %s, only virtio-net-pci works with vhost-user", c.Index, c.Model)
	case c.Model == "":
		c.Model = "e1000"
	case c.Vhost && (c.Backend != "tap" || !virtio):
		return fmt.Errorf("vhost=on needs --tap and virtio-net-pci")
	}
	return nil
}
