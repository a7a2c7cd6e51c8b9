package runs

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"

	"picolab/hostctl/internal/remote"
)

// A pc is an SSH server on the loopback link that runs commands in this machine's shell, and a client's files for it.
// Debian's sshd takes its place where there is one: see start.
type pc struct {
	dir     string
	address remote.PC
	conns   sync.WaitGroup
}

// newPC starts a server. The client is the system's ssh.
func newPC(t *testing.T) *pc {
	t.Helper()
	if _, err := exec.LookPath("ssh"); err != nil {
		t.Skip("ssh(1) not installed")
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	p := &pc{dir: t.TempDir(), address: remote.PC{User: me.Username, Host: "127.0.0.1"}}
	for _, name := range []string{"host", "user", "other"} {
		makeKey(t, filepath.Join(p.dir, name))
	}
	p.start(t)
	public := p.read(t, "host.pub")
	known := fmt.Sprintf("[127.0.0.1]:%d %s", p.address.Port, public)
	if err := os.WriteFile(filepath.Join(p.dir, "known"), []byte(known), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// client is ssh with nothing of the caller's configuration.
func (p *pc) client(key, known string) *remote.SSH {
	return &remote.SSH{PC: p.address, Options: []string{"-F", os.DevNull, "-i", filepath.Join(p.dir, key), "-o", "IdentitiesOnly=yes",
		"-o", "IdentityAgent=none", "-o", "UserKnownHostsFile=" + filepath.Join(p.dir, known), "-o", "GlobalKnownHostsFile=/dev/null"}}
}

func (p *pc) read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(p.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// makeKey writes a key pair as ssh-keygen does.
func makeKey(t *testing.T, path string) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	line, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{path: pem.EncodeToMemory(block), path + ".pub": ssh.MarshalAuthorizedKey(line)} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// start serves until the test ends.
func (p *pc) start(t *testing.T) {
	t.Helper()
	allowed, _, _, _, err := ssh.ParseAuthorizedKey(p.read(t, "user.pub"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.ParsePrivateKey(p.read(t, "host"))
	if err != nil {
		t.Fatal(err)
	}
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, k ssh.PublicKey) (*ssh.Permissions, error) {
		if string(k.Marshal()) != string(allowed.Marshal()) {
			return nil, fmt.Errorf("unknown key")
		}
		return nil, nil
	}}
	config.AddHostKey(key)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.address.Port = l.Addr().(*net.TCPAddr).Port
	p.conns.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p.conns.Go(func() { serveConn(conn, config) })
		}
	})
	t.Cleanup(func() { l.Close(); p.conns.Wait() })
}

func serveConn(conn net.Conn, config *ssh.ServerConfig) {
	defer conn.Close()
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() { ssh.DiscardRequests(requests) })
	for c := range channels {
		if ch, reqs, err := c.Accept(); err == nil {
			all.Go(func() { serveSession(ch, reqs) })
		}
	}
}

// serveSession runs the one command of a session; when the client goes, its input ends and it gets SIGHUP, as sshd does.
func serveSession(ch ssh.Channel, requests <-chan *ssh.Request) {
	defer ch.Close()
	var all sync.WaitGroup
	defer all.Wait()
	for r := range requests {
		ok := r.Type == "exec"
		if r.WantReply {
			r.Reply(ok, nil)
		}
		if !ok {
			continue
		}
		var command struct{ Text string }
		if ssh.Unmarshal(r.Payload, &command) != nil {
			return
		}
		cmd := exec.Command("/bin/sh", "-c", command.Text)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		stdin, err := cmd.StdinPipe()
		if err != nil {
			return
		}
		cmd.Stdout, cmd.Stderr = ch, ch.Stderr()
		if cmd.Start() != nil {
			return
		}
		defer syscall.Kill(-cmd.Process.Pid, syscall.SIGHUP)
		all.Go(func() { io.Copy(stdin, ch); stdin.Close() })
		all.Go(func() {
			cmd.Wait()
			status := struct{ Status uint32 }{uint32(max(0, cmd.ProcessState.ExitCode()))}
			ch.SendRequest("exit-status", false, ssh.Marshal(&status))
			ch.Close()
		})
	}
}
