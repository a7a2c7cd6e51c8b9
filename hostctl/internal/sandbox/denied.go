package sandbox

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// DeniedError is a step of making a sandbox that this machine did not allow.
type DeniedError struct {
	Step   string // what was tried: "mount proc on /proc"
	Reason string // the kernel's answer
	Remedy string // what the user can do; may be empty
	Errno  unix.Errno
}

func (e *DeniedError) Error() string {
	s := e.Step + ": " + e.Reason
	if e.Remedy != "" {
		s += " (" + e.Remedy + ")"
	}
	return s
}

// Unwrap lets errors.Is find EPERM and its like.
func (e *DeniedError) Unwrap() error {
	if e.Errno == 0 {
		return nil
	}
	return e.Errno
}

func denied(step string, err error) error {
	d := &DeniedError{Step: step, Reason: err.Error()}
	errors.As(err, &d.Errno)
	if d.Errno == unix.EPERM || d.Errno == unix.EACCES {
		d.Remedy = mountRemedy(step)
	}
	return d
}

// mountRemedy: a container that masks parts of its /proc or /sys gets EPERM for a new one (mount_too_revealing in the
// kernel's fs/namespace.c), everything else is a seccomp or AppArmor profile.
func mountRemedy(step string) string {
	if strings.HasPrefix(step, "mount proc") || strings.HasPrefix(step, "mount sysfs") {
		return "in a container whose /proc or /sys is masked: start it with --security-opt systempaths=unconfined or --privileged, or run as root outside"
	}
	return "in a container: start it with --security-opt seccomp=unconfined --security-opt apparmor=unconfined or --cap-add SYS_ADMIN, or run as root outside"
}

// explainClone names what stops new namespaces.
func explainClone(err error, userNS bool) error {
	d := &DeniedError{Step: "clone(NEWNS|NEWPID|NEWNET|NEWUTS|NEWIPC)", Reason: err.Error()}
	if userNS {
		d.Step = "clone(NEWUSER|NEWNS|NEWPID|NEWNET|NEWUTS|NEWIPC)"
	}
	if !errors.As(err, &d.Errno) {
		return err
	}
	switch d.Errno {
	case unix.EPERM, unix.EACCES:
		d.Remedy = permissionRemedy(userNS)
	case unix.ENOSPC, unix.EUSERS:
		d.Remedy = "a limit on namespaces is reached: raise the sysctls user.max_user_namespaces, user.max_net_namespaces and their like"
	case unix.EINVAL:
		d.Remedy = "this kernel lacks one of these namespaces"
	default:
		return err
	}
	return d
}

func permissionRemedy(userNS bool) string {
	if !userNS {
		return "a seccomp profile denies it: start the container with --privileged"
	}
	for _, s := range []struct{ file, bad, fix string }{
		{"/proc/sys/kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"},
		{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "sysctl kernel.apparmor_restrict_unprivileged_userns=0"},
		{"/proc/sys/user/max_user_namespaces", "0", "sysctl user.max_user_namespaces=10000"},
	} {
		if v, err := os.ReadFile(s.file); err == nil && strings.TrimSpace(string(v)) == s.bad {
			return fmt.Sprintf("%s is %s: %s, or run as root", s.file, s.bad, s.fix)
		}
	}
	return "user namespaces are denied, in a container by its seccomp profile: start it with --security-opt seccomp=unconfined, or run as root"
}
