package fake

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"picolab/hostctl/catalogue"
)

// fossils are commands of QEMU's first years.
var fossils = []string{"host_net_add", "host_net_remove", "pci_add", "pci_del"}

// human answers a line of the monitor for people, which tells refusals in text.
func (q qmp) human(ctx context.Context, line string, out any) error {
	cmd, rest, _ := strings.Cut(line, " ")
	text := ""
	switch {
	case cmd == "netdev_add" || cmd == "netdev_del" || cmd == "chardev-add" || cmd == "chardev-remove":
	case line == "info registers -a":
		text = "CPU#0\r\nRIP=ffffffff81000000 RFL=00000046 HLT=1\r\n"
	case cmd == "device_add":
		text = said(q.command(ctx, cmd, arguments(rest), nil))
	case cmd == "device_del":
		text = said(q.command(ctx, cmd, catalogue.Args{"id": rest}, nil))
	case slices.Contains(fossils, cmd) && q.n.lab.Faults.Fossil:
	default:
		text = fmt.Sprintf("unknown command: '%s'\r\n", cmd)
	}
	if s, ok := out.(*string); ok {
		*s = text
	}
	return nil
}

// said is an error as the monitor tells it to people.
func said(err error) string {
	if err == nil {
		return ""
	}
	return "Error: " + err.Error() + "\r\n"
}

// arguments reads driver,key=value,...
func arguments(list string) catalogue.Args {
	words := strings.Split(list, ",")
	args := catalogue.Args{"driver": words[0]}
	for _, w := range words[1:] {
		key, value, _ := strings.Cut(w, "=")
		args[key] = value
	}
	return args
}
