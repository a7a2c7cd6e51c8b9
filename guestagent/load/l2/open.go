// Package l2 is the commands l2open, l2send and l2recv: the first opens a raw packet socket or a tap device and becomes
// another command, which finds the descriptor as its number 3; the others send to it and receive from it.
package l2

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"

	"picolab/guestagent/load/getopt"
	"picolab/guestagent/load/pktgen/tap"
)

// Descriptor is the number that the command finds.
const Descriptor = 3

// OpenManual is what l2open --help prints.
const OpenManual = `Usage: l2open -r interface command [argument...]
       l2open -t interface command [argument...]

Opens a raw packet socket on the interface (-r), or the program's end of a tap
device, which is made when there is none (-t), and becomes the command, which
finds it as descriptor 3:

  l2open -r eth0 l2recv      l2open -t tap0 l2send -n 1000

The exit code is that of the command; 1 when the descriptor or the command cannot
be opened, and 2 when the command line is wrong.
`

// opening is a command line of l2open.
type opening struct {
	raw, tap string
	help     bool
	command  []string
}

func parseOpen(args []string) (opening, error) {
	var o opening
	rest, err := getopt.Parse(args, []getopt.Option{
		{Name: 'r', Kind: getopt.Required, Set: func(s string) error { o.raw = s; return nil }},
		{Name: 't', Kind: getopt.Required, Set: func(s string) error { o.tap = s; return nil }},
		{Name: 'h', Long: "help", Set: func(string) error { o.help = true; return nil }},
	})
	if len(rest) > 0 && rest[0] == "--" {
		rest = rest[1:]
	}
	o.command = rest
	switch {
	case err != nil || o.help:
		return o, err
	case (o.raw == "") == (o.tap == ""):
		return o, errors.New("one of -r and -t is needed")
	case len(rest) == 0:
		return o, errors.New("a command is needed")
	}
	return o, nil
}

// OpenMain is the l2open command. When all goes well it does not return.
func OpenMain(_ context.Context, out io.Writer, args []string) error {
	o, err := parseOpen(args)
	switch {
	case err != nil:
		return fmt.Errorf("%w; %w", err, getopt.ErrUsage)
	case o.help:
		_, err = io.WriteString(out, OpenManual)
		return err
	}
	path, err := exec.LookPath(o.command[0])
	if err != nil {
		return err
	}
	fd, err := o.open()
	if err != nil {
		return err
	}
	return become(fd, path, o.command)
}

// open opens the descriptor.
func (o opening) open() (int, error) {
	if o.raw != "" {
		return openRaw(o.raw)
	}
	fd, err := tap.Attach(o.tap, false)
	if err != nil {
		return -1, err
	}
	if err := tap.Up(o.tap); err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// receiveBuffer is for what comes while the receiver has no CPU, in bytes of the kernel's memory.
const receiveBuffer = 16 << 20

// openRaw opens a packet socket that receives what comes to the interface, and not what the host sends.
func openRaw(name string) (int, error) {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return -1, fmt.Errorf("interface %s: %w", name, err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open packet socket: %w", err)
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1)     // Linux 4.20
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) // CAP_NET_ADMIN; else what there is
	const all = unix.ETH_P_ALL<<8 | unix.ETH_P_ALL>>8                               // big endian
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: link.Index, Protocol: all & 0xffff}); err != nil {
		return -1, errors.Join(fmt.Errorf("bind to %s: %w", name, err), unix.Close(fd))
	}
	return fd, nil
}

// become is execve(2) with the descriptor in its place. Nothing of this program uses that number afterwards.
func become(fd int, path string, argv []string) error {
	var err error
	if fd == Descriptor {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0) // not closed by execve
	} else {
		err = unix.Dup3(fd, Descriptor, 0)
	}
	if err != nil {
		return fmt.Errorf("descriptor %d: %w", Descriptor, err)
	}
	return fmt.Errorf("run %s: %w", path, unix.Exec(path, argv, os.Environ()))
}
