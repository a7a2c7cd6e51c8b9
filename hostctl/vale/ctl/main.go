package ctl

import (
	"context"
	"fmt"
	"io"
	"strings"
)

// DefaultSocket is where vale-ctl looks for the switches unless -s says otherwise.
const DefaultSocket = "/run/vale.sock"

// Usage is what vale-ctl -? prints.
const Usage = `usage: vale-ctl [-s SOCKET] [-b] [-g | -l] [-g valeS:PORT | -h valeS:IF | -a valeS:IF | -d valeS:PORT]
	-g [valeS:PORT]	list all ports, or one
	-l [valeS:PORT]	the same
	-h valeS:IF	attach; IF is a tap, or KIND:ARGUMENT as in hostctl switch --port
	-a valeS:IF	the same
	-d valeS:PORT	detach
	-b		brief: only names
	-s SOCKET	control socket of hostctl switch (` + DefaultSocket + `)
`

type command struct {
	socket string
	brief  bool
	verb   byte // 0 for none
	name   string
}

// parse understands options as the original does: one letter, its argument in the same word or the next.
func parse(args []string) (c command, err error) {
	c.socket = DefaultSocket
	for len(args) > 0 {
		word := args[0]
		args = args[1:]
		if len(word) < 2 || word[0] != '-' {
			return c, fmt.Errorf("unexpected argument %q", word)
		}
		if word == "-b" {
			c.brief = true
			continue
		}
		option, value := word[1], word[2:]
		if !strings.ContainsRune("sghald", rune(option)) {
			return c, fmt.Errorf("unknown option -%c", option)
		}
		if value == "" && len(args) > 0 && !strings.HasPrefix(args[0], "-") {
			value, args = args[0], args[1:]
		}
		if value == "" && option != 'g' && option != 'l' {
			return c, fmt.Errorf("option -%c needs an argument", option)
		}
		if option == 's' {
			c.socket = value
			continue
		}
		if c.verb != 0 {
			return c, fmt.Errorf("options -%c and -%c exclude each other", c.verb, option)
		}
		c.verb, c.name = option, value
	}
	return c, nil
}

// Main is vale-ctl with its arguments.
func Main(ctx context.Context, stdout io.Writer, args []string) error {
	c, err := parse(args)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, strings.TrimSuffix(Usage, "\n"))
	}
	client := Client{c.socket}
	switch c.verb {
	case 'h', 'a':
		_, port, _ := strings.Cut(c.name, ":")
		return client.Attach(ctx, c.name, port)
	case 'd':
		return client.Detach(ctx, c.name)
	}
	all, err := client.Status(ctx)
	if err != nil {
		return err
	}
	return list(stdout, all, c)
}

// list prints a line for each port.
func list(w io.Writer, all []Status, c command) error {
	found := c.name == ""
	for bridge, s := range all {
		for port, p := range s.Ports {
			full := s.Name + ":" + p.Name
			if c.name != "" && c.name != full {
				continue
			}
			found = true
			if c.brief {
				fmt.Fprintln(w, full)
				continue
			}
			up := "up"
			if !p.Up {
				up = "down"
			}
			fmt.Fprintf(w, "bridge:%d port:%d %s %s rx:%d tx:%d drop:%d\n", bridge, port, full, up, p.FromFrames, p.ToFrames, p.ToFull+p.ToDown)
		}
	}
	if !found {
		return fmt.Errorf("%s: no such port", c.name)
	}
	return nil
}
