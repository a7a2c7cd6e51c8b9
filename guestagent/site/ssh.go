package site

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"
)

// Where sshd's files are, below the root.
const (
	sshd       = "usr/sbin/sshd"
	sshFolder  = "run/picolab/ssh"
	hostKey    = sshFolder + "/ssh_host_ed25519_key"
	sshConfig  = sshFolder + "/sshd_config"
	askForSSH  = "etc/picolab/sshd" // a recipe that has this file wants sshd, with the keys it brings
	privsepDir = "run/sshd"
)

// config lets nobody in without a key. PAM, which would open other ways, is not in the image.
const config = `# made at boot
HostKey /` + hostKey + `
AuthorizedKeysFile /` + keysFile + `
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitEmptyPasswords no
AuthenticationMethods publickey
UsePAM no
X11Forwarding no
PidFile none
AcceptEnv LANG LC_*
Subsystem sftp internal-sftp
`

// environment makes sessions find the commands that consoles find.
func environment() string {
	var words []string
	for _, name := range []string{"PATH", "PICOLAB_MIRROR"} {
		if v := os.Getenv(name); v != "" && !strings.ContainsAny(v, "\"\\\n") {
			words = append(words, fmt.Sprintf("%s=\"%s\"", name, v))
		}
	}
	if len(words) == 0 {
		return ""
	}
	return "SetEnv " + strings.Join(words, " ") + "\n" // the first such line counts, so there is one
}

// wantSSH says who asked for sshd; "" is nobody.
func (s *Site) wantSSH() string {
	if _, err := os.Stat(s.path(askForSSH)); err == nil {
		return "the recipe"
	}
	if s.folder == "" {
		return ""
	}
	if _, err := os.Stat(s.folder + "/authorized_keys"); err == nil {
		return "the site folder"
	}
	return ""
}

// serveSSH keeps sshd running when it is asked for and there is a key that may log in.
func (s *Site) serveSSH(ctx context.Context) {
	who := s.wantSSH()
	if who == "" {
		return
	}
	if err := s.prepareSSH(ctx); err != nil {
		s.o.Logf("sshd, asked for by %s, does not run: %v", who, err)
		return
	}
	s.o.Logf("sshd runs, asked for by %s", who)
	for ctx.Err() == nil {
		err := s.command(ctx, s.o.Console, s.path(sshd), "-D", "-e", "-f", s.path(sshConfig))
		if ctx.Err() == nil {
			s.o.Logf("sshd ended: %v; starting it again", err)
			pause(ctx, 5*time.Second)
		}
	}
}

// prepareSSH makes what sshd wants to find: its folder, its user, a host key, its configuration.
func (s *Site) prepareSSH(ctx context.Context) error {
	if _, err := os.Stat(s.path(sshd)); err != nil {
		return fmt.Errorf("the image has no openssh-server: %w", err)
	}
	if keys, err := os.ReadFile(s.path(keysFile)); err != nil || len(keys) == 0 {
		return errors.New("there is no key that may log in")
	}
	return errors.Join(
		os.MkdirAll(s.path(privsepDir), 0o755), os.MkdirAll(s.path(sshFolder), 0o700), s.addUser(),
		s.makeHostKey(ctx), s.write(sshConfig, 0o600, []byte(config+environment())),
	)
}

// addUser adds the unprivileged user that sshd changes to, unless the image has it.
func (s *Site) addUser() error {
	const line = "sshd:x:101:65534::/run/sshd:/usr/sbin/nologin\n"
	data, err := os.ReadFile(s.path("etc/passwd"))
	if err != nil || strings.HasPrefix(string(data), "sshd:") || strings.Contains(string(data), "\nsshd:") {
		return err
	}
	return s.write("etc/passwd", 0o644, append(data, line...))
}

// makeHostKey takes the folder's host key, else makes one that lasts until the power is off.
func (s *Site) makeHostKey(ctx context.Context) error {
	if s.folder != "" {
		key, err := readSmall(s.folder + "/ssh_host_ed25519_key")
		if err == nil {
			return s.write(hostKey, 0o600, key)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if _, err := os.Stat(s.path(hostKey)); err == nil {
		return nil
	}
	return s.command(ctx, s.o.Console, s.path("usr/bin/ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", "picolab", "-f", s.path(hostKey))
}
