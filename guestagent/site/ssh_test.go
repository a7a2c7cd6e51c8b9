package site

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// program puts a shell script into the root.
func (b *bench) program(name, script string) {
	b.t.Helper()
	b.put(b.root, name, "#!/bin/sh\n"+script)
	if err := os.Chmod(filepath.Join(b.root, name), 0o755); err != nil {
		b.t.Fatal(err)
	}
}

// withSSH puts programs into the root that act like OpenSSH's, as far as files go.
func (b *bench) withSSH() {
	b.put(b.root, "etc/passwd", "root:x:0:0::/root:/bin/bash\n")
	b.program("usr/bin/ssh-keygen", `while [ $# -gt 1 ]; do shift; done; echo made >"$1"`)
	b.program(sshd, `cat "$4"; echo listening; trap 'exit 0' TERM; while :; do sleep 0.05; done`)
}

// serving runs sshd until the console shows a word, then ends it.
func (b *bench) serving(s *Site, word string) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.t.Context())
	defer cancel()
	s.o.Console = writer(func(p []byte) {
		b.show.Write(p)
		if strings.Contains(b.show.String(), word) {
			cancel()
		}
	})
	done := make(chan struct{})
	go func() { defer close(done); s.serveSSH(ctx) }()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		b.t.Fatalf("sshd does not end; console %q", b.show.String())
	}
}

func TestSSHNotAskedFor(t *testing.T) {
	b := newBench(t, map[string]string{"picolab/site/network.yaml": ""})
	b.withSSH()
	b.put(b.root, keysFile, goodKey)
	s := Open(b.o)
	s.serveSSH(t.Context())
	if b.show.Len() > 0 || strings.Contains(b.logged(), "sshd") {
		t.Errorf("it ran: %q, %q", b.show.String(), b.logged())
	}
}

func TestSSH(t *testing.T) {
	b := newBench(t, map[string]string{"picolab/site/authorized_keys": goodKey + "\n"})
	b.withSSH()
	t.Setenv("PATH", "/bbin:"+os.Getenv("PATH"))
	t.Setenv("PICOLAB_MIRROR", "http://192.0.2.1/a b")
	s := Open(b.o)
	s.Apply()
	b.serving(s, "listening")
	for _, want := range []string{`SetEnv PATH="/bbin:`, ` PICOLAB_MIRROR="http://192.0.2.1/a b"`, "PasswordAuthentication no\n", "PermitRootLogin prohibit-password\n", "KbdInteractiveAuthentication no\n", "UsePAM no\n"} {
		if !strings.Contains(b.show.String(), want) {
			t.Errorf("sshd was not told %q, but\n%s", want, b.show.String())
		}
	}
	b.want(hostKey, "made\n")
	b.want("etc/passwd", "root:x:0:0::/root:/bin/bash\nsshd:x:101:65534::/run/sshd:/usr/sbin/nologin\n")
	if m := mode(t, filepath.Join(b.root, sshFolder)); m != 0o700 {
		t.Errorf("the host key's folder has mode %o", m)
	}
	if !strings.Contains(b.logged(), "sshd runs, asked for by the site folder") {
		t.Errorf("told: %s", b.logged())
	}
	s.o.Console = &b.show
	if err := s.prepareSSH(t.Context()); err != nil { // once more: nothing twice
		t.Error(err)
	}
	b.want("etc/passwd", "root:x:0:0::/root:/bin/bash\nsshd:x:101:65534::/run/sshd:/usr/sbin/nologin\n")
}

func TestSSHHostKeyOfFolder(t *testing.T) {
	b := newBench(t, map[string]string{"picolab/site/authorized_keys": goodKey, "picolab/site/ssh_host_ed25519_key": "the stick's"})
	b.withSSH()
	s := Open(b.o)
	s.Apply()
	b.serving(s, "listening")
	b.want(hostKey, "the stick's")
	if m := mode(t, filepath.Join(b.root, hostKey)); m != 0o600 {
		t.Errorf("the host key has mode %o", m)
	}
}

// TestSSHOfRecipe: a recipe may ask for sshd, and brings the keys.
func TestSSHOfRecipe(t *testing.T) {
	b := newBench(t, nil)
	b.withSSH()
	b.put(b.root, askForSSH, "")
	b.put(b.root, keysFile, goodKey)
	b.serving(Open(b.o), "listening")
	if !strings.Contains(b.logged(), "asked for by the recipe") {
		t.Errorf("told: %s", b.logged())
	}
}

func TestSSHCannotRun(t *testing.T) {
	for name, tc := range map[string]struct {
		prepare func(b *bench)
		want    string
	}{
		"no package": {func(b *bench) { b.put(b.root, keysFile, goodKey) }, "the image has no openssh-server"},
		"no key":     {func(b *bench) { b.withSSH() }, "there is no key that may log in"},
		"no keygen": {func(b *bench) {
			b.withSSH()
			b.put(b.root, keysFile, goodKey)
			b.program("usr/bin/ssh-keygen", "exit 9")
		}, "ended with exit code 9"},
		"a host key that is a folder": {func(b *bench) {
			b.withSSH()
			b.put(b.root, keysFile, goodKey)
			b.put(b.stick, "picolab/site/ssh_host_ed25519_key/x", "")
		}, "is no file"},
	} {
		b := newBench(t, map[string]string{"picolab/site/authorized_keys": "rubbish\n"})
		tc.prepare(b)
		Open(b.o).serveSSH(t.Context())
		if !strings.Contains(b.logged(), "does not run: ") || !strings.Contains(b.logged(), tc.want) {
			t.Errorf("%s: told %q, want %q", name, b.logged(), tc.want)
		}
	}
}

// TestSSHAgain: sshd that ends is started again, after a while.
func TestSSHAgain(t *testing.T) {
	b := newBench(t, map[string]string{"picolab/site/authorized_keys": goodKey})
	b.withSSH()
	b.program(sshd, "echo broken; exit 255")
	s := Open(b.o)
	s.Apply()
	b.serving(s, "broken\nbroken\n")
	if strings.Count(b.logged(), "sshd ended: ") != 1 || !strings.Contains(b.logged(), "exit code 255; starting it again") {
		t.Errorf("told: %s", b.logged())
	}
}

// TestRealSSHD asks OpenSSH what it thinks of the configuration.
func TestRealSSHD(t *testing.T) {
	program, err := exec.LookPath("/usr/sbin/sshd")
	if err != nil {
		t.Skip("sshd(8) of OpenSSH 8 or later is not installed")
	}
	dir := t.TempDir()
	key, file := filepath.Join(dir, "key"), filepath.Join(dir, "sshd_config")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text := strings.ReplaceAll(config, "/"+hostKey, key)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(program, "-T", "-f", file).CombinedOutput()
	if err != nil && bytes.Contains(out, []byte("privilege separation")) {
		t.Skipf("sshd cannot run here: %s", out)
	}
	for _, want := range []string{"passwordauthentication no", "permitrootlogin without-password", "kbdinteractiveauthentication no", "authenticationmethods publickey", "permitemptypasswords no"} {
		if err != nil || !bytes.Contains(out, []byte(want)) {
			t.Errorf("%v: no %q in\n%s", err, want, out)
		}
	}
}

// TestCommandBounds: what a program leaves running does not hold its end up.
func TestCommandBounds(t *testing.T) {
	b := newBench(t, nil)
	b.program("bin/p", "sleep 300 & echo $! >"+b.root+"/pid; echo done")
	s := Open(b.o)
	began := time.Now()
	if err := s.command(t.Context(), &b.show, filepath.Join(b.root, "bin/p")); err != nil {
		t.Error(err)
	}
	if b.show.String() != "done\n" || time.Since(began) > time.Minute {
		t.Errorf("%q after %v", b.show.String(), time.Since(began))
	}
	pid, err := os.ReadFile(filepath.Join(b.root, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("kill", strings.TrimSpace(string(pid))).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if err := s.command(t.Context(), &b.show, "/nonexistent"); err == nil {
		t.Error("a program that is not there runs")
	}
}
