// Package netns runs a test binary in a network namespace of its own, which needs no root where user namespaces are
// allowed.
package netns

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"picolab/guestagent/internal/leak"
	"picolab/guestagent/verbs"
	"picolab/guestagent/wire"
)

// inside in the environment marks the process that has the namespace.
const inside = "PICOLAB_TEST_NETNS"

// Run is for TestMain: it runs the tests in a fresh network namespace whose loopback link is up, and fails when they leave
// goroutines or descriptors. It returns the exit code.
func Run(m *testing.M) int {
	if os.Getenv(inside) == "" {
		return again()
	}
	up := &wire.SetLinkRequest{Link: "lo", Up: new(true)}
	if _, err := verbs.New(verbs.Env{}).SetLink(context.Background(), up); err != nil {
		fmt.Println("lo:", err)
		return 1
	}
	return leak.Run(m)
}

// again starts this program once more, in a network namespace, and in a user namespace unless we are root.
func again() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return exit.ExitCode()
	case err != nil:
		fmt.Printf("SKIP: no network namespace: %v\n", err)
	}
	return 0
}
