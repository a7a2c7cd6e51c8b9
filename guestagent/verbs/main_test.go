package verbs_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"picolab/guestagent/hostside"

	"github.com/vishvananda/netlink"
	"picolab/guestagent/internal/leak"
)

// What a re-executed test binary is to be.
const (
	roleEnv   = "PICOLAB_TEST_ROLE"
	roleTests = "tests" // the tests, in a network namespace of their own
	roleAgent = "agent" // an agent on descriptor 3, in another one
)

func TestMain(m *testing.M) {
	switch os.Getenv(roleEnv) {
	case roleAgent:
		if err := hostside.Main(context.Background(), []string{"-fd", "3"}, nil); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	case roleTests:
		os.Exit(runTests(m))
	}
	os.Exit(reexec())
}

// reexec runs the tests in a fresh network namespace, and a fresh user namespace unless we are root.
func reexec() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), roleEnv+"="+roleTests)
	cmd.SysProcAttr = namespaces()
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

func namespaces() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if os.Geteuid() != 0 {
		a.Cloneflags |= syscall.CLONE_NEWUSER
		a.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	return a
}

// runTests fails when goroutines or descriptors are left over.
func runTests(m *testing.M) int {
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		fmt.Println("lo:", err)
		return 1
	}
	return leak.Run(m)
}
