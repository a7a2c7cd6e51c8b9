// Package hostside runs the agent for the machine side of a lab: one connection on an inherited socket.
package hostside

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"time"

	"picolab/guestagent"
	"picolab/guestagent/load/pktgen"
	"picolab/guestagent/module"
	"picolab/guestagent/verbs"

	"golang.org/x/sys/unix"
)

// Main serves the connection named by the arguments, "-fd N [-modules ROOT]", to its end. The socket itself is the authority: no token
// is asked for. The generators open the ports given, nil being those of the agent's own.
func Main(ctx context.Context, args []string, ports pktgen.Ports) error {
	fs := flag.NewFlagSet("guestagent", flag.ContinueOnError)
	fd := fs.Int("fd", -1, "file descriptor of the connected socket")
	root := fs.String("modules", "/", "root of the lib/modules to load from")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *fd < 3 {
		return fmt.Errorf("-fd %d: not an inherited descriptor", *fd)
	}
	conn, err := inherited(*fd)
	if err != nil {
		return err
	}
	return Serve(ctx, conn, *root, ports)
}

// Serve serves one trusted connection with the verbs of this process's namespaces. Modules are those of root's lib/modules.
func Serve(ctx context.Context, conn net.Conn, root string, ports pktgen.Ports) error {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return fmt.Errorf("uname: %w", err)
	}
	modules, err := module.Open(root, unix.ByteSliceToString(u.Release[:]))
	if err != nil {
		return err
	}
	guestagent.ServeConn(ctx, conn, guestagent.Options{
		Started: time.Now(), Verbs: verbs.New(verbs.Env{Modules: modules, Ports: ports}),
		Logf: func(format string, args ...any) { fmt.Fprintf(os.Stderr, "guestagent: "+format+"\n", args...) },
	})
	return nil
}

// inherited takes over a socket.
func inherited(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "inherited socket")
	defer f.Close() // net.FileConn has its own
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("descriptor %d: %w", fd, err)
	}
	return conn, nil
}
