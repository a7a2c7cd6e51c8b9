package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"picolab/hostctl/internal/proc"
)

// PC is a machine that is reached over SSH: ssh://[user@]host[:port][/folder]. The folder holds the images; without it
// the PC's own are used, which an appliance has.
type PC struct {
	User, Host string
	Port       int // 0: what ssh's configuration says
	Images     string
}

var (
	userPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)
	hostPattern = regexp.MustCompile(`^[A-Za-z0-9:][A-Za-z0-9.:%_-]*$`) // IPv6 addresses too; never an option
)

// ParsePC reads a URL. A password in it is refused: only keys are used.
func ParsePC(text string) (PC, error) {
	u, err := url.Parse(text)
	if err != nil {
		return PC{}, fmt.Errorf("parse address: %w", err)
	}
	p := PC{Host: u.Hostname(), Images: strings.TrimSuffix(u.Path, "/")}
	if u.User != nil {
		p.User = u.User.Username()
		if _, has := u.User.Password(); has {
			return PC{}, errors.New("parse address: it holds a password; only keys are used")
		}
	}
	switch {
	case u.Scheme != "ssh" || u.RawQuery != "" || u.Fragment != "" || !hostPattern.MatchString(p.Host):
		return PC{}, fmt.Errorf("parse address: %q is not ssh://[user@]host[:port][/folder of images]", text)
	case p.User != "" && !userPattern.MatchString(p.User):
		return PC{}, fmt.Errorf("parse address: %q is not a user's name", p.User)
	}
	if u.Port() != "" {
		if p.Port, err = strconv.Atoi(u.Port()); err != nil || p.Port < 1 || p.Port > 65535 {
			return PC{}, fmt.Errorf("parse address: port %q", u.Port())
		}
	}
	return p, nil
}

// String is the URL.
func (p PC) String() string {
	u := url.URL{Scheme: "ssh", Host: p.Host, Path: p.Images}
	if strings.Contains(p.Host, ":") {
		u.Host = "[" + p.Host + "]"
	}
	if p.Port != 0 {
		u.Host += ":" + strconv.Itoa(p.Port)
	}
	if p.User != "" {
		u.User = url.User(p.User)
	}
	return u.String()
}

// SSH is how the system's client is called.
type SSH struct {
	PC      PC
	Program string        // "ssh" from PATH when empty
	Options []string      // put in front of ours, which then do not count: ssh takes the first value it sees
	Connect time.Duration // limit of getting through
	Log     func(string)  // told the command line
}

// argv is ssh's arguments for running a command line of the PC's shell. Nothing is ever asked of a person: an unknown host
// key, or a key that does not open the door, is an error.
func (s SSH) argv(command string) []string {
	args := append([]string{"-T", "-o", "BatchMode=yes", "-o", "PasswordAuthentication=no", "-o", "KbdInteractiveAuthentication=no"}, s.Options...)
	args = append(args, "-o", "ConnectTimeout="+strconv.Itoa(max(1, int(s.Connect.Seconds()))),
		"-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4")
	if s.PC.Port != 0 {
		args = append(args, "-p", strconv.Itoa(s.PC.Port))
	}
	if s.PC.User != "" {
		args = append(args, "-l", s.PC.User)
	}
	return append(args, "--", s.PC.Host, command)
}

// upload is the PC's side of Install: a private folder, and the program in it, whole.
const upload = `umask 077 && d=$(mktemp -d /tmp/picolab.XXXXXX) && cat > "$d/` + Program + `" && chmod 700 "$d/` + Program + `" && echo "$d/` + Program + `"`

var uploaded = regexp.MustCompile(`(?m)^/tmp/picolab\.[A-Za-z0-9]+/` + Program + `$`)

// Install copies a program to the PC and returns its path there. The relay removes itself when it starts.
func (s SSH) Install(ctx context.Context, program io.Reader) (path string, err error) {
	var out bytes.Buffer
	if err := s.run(ctx, upload, program, &out, nil); err != nil {
		return "", fmt.Errorf("copy hostctl to %s: %w", s.PC, err)
	}
	path = uploaded.FindString(out.String())
	if path == "" {
		return "", fmt.Errorf("copy hostctl to %s: its shell answered %.200q", s.PC, out.String())
	}
	return path, nil
}

// Run runs the installed program until it ends. Its end by itself, whatever the exit code, is no error of ours.
func (s SSH) Run(ctx context.Context, path string, stdin io.Reader, stdout, stderr io.Writer) error {
	err := s.run(ctx, "exec "+path, stdin, stdout, stderr)
	if err != nil {
		return fmt.Errorf("run on %s: %w", s.PC, err)
	}
	return nil
}

// sshFailed is ssh's exit code for its own errors (ssh(1)).
const sshFailed = 255

func (s SSH) run(ctx context.Context, command string, stdin io.Reader, stdout, stderr io.Writer) error {
	program := s.Program
	if program == "" {
		program = "ssh"
	}
	in, stop, err := pipeFrom(stdin)
	if err != nil {
		return err
	}
	defer stop()
	p, err := proc.Start(ctx, proc.Cmd{Path: program, Args: s.argv(command), Stdin: in, Stdout: stdout, Stderr: stderr, Log: s.Log})
	in.Close()
	if err != nil {
		return err
	}
	err = p.Wait()
	var exit *proc.ExitError
	if errors.As(err, &exit) && exit.Code == sshFailed {
		return explain(p.Stderr(), err)
	}
	return err
}

// pipeFrom gives a child a real descriptor, so that its end is seen even while the reader has nothing to say.
func pipeFrom(r io.Reader) (in *os.File, stop func(), err error) {
	in, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(w, r) // a child that does not want more has said why elsewhere
		w.Close()
	}()
	stop = func() {
		if c, ok := r.(io.Closer); ok { // or the copying waits for a reader that nobody writes to any more
			c.Close()
		}
		w.Close()
		<-done
	}
	return in, stop, nil
}

// hints are what a person does about ssh's messages.
var hints = []struct{ text, hint string }{
	{"Host key verification failed", "its host key is unknown or has changed; log in once by hand and compare the key with the one the PC's console shows"},
	{"REMOTE HOST IDENTIFICATION HAS CHANGED", "its host key has changed; if the PC was flashed anew: ssh-keygen -R HOST"},
	{"Permission denied", "it does not know your key; put the public key into authorized_keys of the stick's site folder"},
	{"Could not resolve hostname", "no such name; is it spelled right?"},
	{"Connection refused", "nothing listens there; sshd runs only when the stick's site folder or the recipe asks for it"},
	{"Connection timed out", "nothing answers there; is the PC on, and on this network?"},
	{"No route to host", "nothing answers there; is the PC on, and on this network?"},
}

// explain puts what to do in front of what ssh said.
func explain(stderr string, err error) error {
	for _, h := range hints {
		if strings.Contains(stderr, h.text) {
			return fmt.Errorf("%s (ssh: %s)", h.hint, lastLine(stderr))
		}
	}
	return err
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}
