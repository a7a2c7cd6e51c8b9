package remote

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"picolab/hostctl/internal/proc"
)

func TestParsePC(t *testing.T) {
	for text, want := range map[string]PC{
		"ssh://pc":                     {Host: "pc"},
		"ssh://root@pc":                {User: "root", Host: "pc"},
		"ssh://root@192.0.2.7:2222":    {User: "root", Host: "192.0.2.7", Port: 2222},
		"ssh://pc/srv/images":          {Host: "pc", Images: "/srv/images"},
		"ssh://u@[2001:db8::1]:22/x":   {User: "u", Host: "2001:db8::1", Port: 22, Images: "/x"},
		"ssh://lab-pc.example.org:443": {Host: "lab-pc.example.org", Port: 443},
	} {
		got, err := ParsePC(text)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
		if got.String() != text {
			t.Errorf("%s: written as %s", text, got)
		}
	}
	for _, text := range []string{
		"", "pc", "http://pc", "ssh://", "ssh://u:secret@pc", "ssh://pc?x=1", "ssh://pc#x", "ssh://pc:0", "ssh://pc:99999",
		"ssh://-oProxyCommand=x", "ssh://-l@pc", "ssh://a%20b@pc", "ssh://pc;reboot",
	} {
		if pc, err := ParsePC(text); err == nil {
			t.Errorf("%q was taken as %+v", text, pc)
		}
	}
}

// TestArgv pins the command line: no password is ever asked for, and nothing of the address can become an option.
func TestArgv(t *testing.T) {
	s := SSH{PC: PC{User: "root", Host: "192.0.2.7", Port: 2222}, Connect: 10 * time.Second, Options: []string{"-i", "key"}}
	want := "-T -o BatchMode=yes -o PasswordAuthentication=no -o KbdInteractiveAuthentication=no -i key " +
		"-o ConnectTimeout=10 -o ServerAliveInterval=15 -o ServerAliveCountMax=4 -p 2222 -l root -- 192.0.2.7 'exec /tmp/x'"
	if got := proc.Quote(s.argv("exec /tmp/x")); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// fakeSSH is a script in place of ssh: it gets the same arguments.
func fakeSSH(t *testing.T, script string) SSH {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ssh")
	if err := os.WriteFile(path, []byte("#!/bin/sh\nfor last; do :; done\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	return SSH{PC: PC{Host: "pc"}, Program: path, Connect: time.Second}
}

// TestInstall runs the PC's side in this machine's shell.
func TestInstall(t *testing.T) {
	s := fakeSSH(t, `eval "$last"`)
	program := "#!/bin/sh\ncat; echo told\n"
	path, err := s.Install(t.Context(), strings.NewReader(program))
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(filepath.Dir(path))
	if b, err := os.ReadFile(path); err != nil || string(b) != program {
		t.Errorf("%q, %v", b, err)
	}
	if info, err := os.Stat(filepath.Dir(path)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder %v, %v", info, err)
	}
	var out bytes.Buffer
	if err := s.Run(t.Context(), path, strings.NewReader("input\n"), &out, nil); err != nil || out.String() != "input\ntold\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

// TestExplains shows that ssh's own failures come with what to do about them.
func TestExplains(t *testing.T) {
	for said, want := range map[string]string{
		"Host key verification failed.":                                 "log in once by hand",
		"root@pc: Permission denied (publickey).":                       "authorized_keys",
		"ssh: connect to host pc port 22: Connection refused":           "nothing listens there",
		"ssh: Could not resolve hostname pc: Name or service":           "no such name",
		"ssh: connect to host pc port 22: No route to host":             "is the PC on",
		"ssh: connect to host pc port 22: Connection timed out":         "is the PC on",
		"kex_exchange_identification: Connection closed by remote host": "kex_exchange",
	} {
		s := fakeSSH(t, "echo '"+said+"' >&2; exit 255")
		_, err := s.Install(t.Context(), strings.NewReader("x"))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), strings.TrimSuffix(said, ".")) {
			t.Errorf("%s: %v", said, err)
		}
	}
}

func TestInstallFails(t *testing.T) {
	if _, err := fakeSSH(t, "echo welcome; cat > /dev/null").Install(t.Context(), strings.NewReader("x")); err == nil || !strings.Contains(err.Error(), "welcome") {
		t.Errorf("a shell that does something else: %v", err)
	}
	if _, err := fakeSSH(t, "echo 'No space left' >&2; exit 1").Install(t.Context(), strings.NewReader("x")); err == nil || !strings.Contains(err.Error(), "No space left") {
		t.Errorf("a full disk: %v", err)
	}
	s := SSH{Program: filepath.Join(t.TempDir(), "none"), PC: PC{Host: "pc"}}
	if _, err := s.Install(t.Context(), strings.NewReader("x")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no ssh: %v", err)
	}
}

// TestRunEndsWithContext shows that nothing is left of a command nobody wants any more, whatever it waits for.
func TestRunEndsWithContext(t *testing.T) {
	s := fakeSSH(t, "echo begun; exec sleep 1000")
	ctx, cancel := context.WithCancel(t.Context())
	begun := writer(func(p []byte) (int, error) { cancel(); return len(p), nil })
	if err := s.Run(ctx, "/x", strings.NewReader(""), begun, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }
