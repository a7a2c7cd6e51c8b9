package lab

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"picolab/guestagent/client"
	"picolab/hostctl/internal/oops"
	"picolab/hostctl/internal/proc"
)

// Env is where a lab runs and whom it tells.
type Env struct {
	Dir      string                           // evidence: console.log, argv.txt, qmp.log of each guest, links/*.pcapng; created when missing
	Images   string                           // base of relative image folders
	Agent    string                           // guestagent for the host side; default /bbin/guestagent
	Cache    string                           // folder shared by the labs of one machine: the boot lock, the KVM probe's answer; "" means neither
	Logf     func(format string, args ...any) // progress; nil means silence
	OnState  func()                           // called after every change of a guest's state; nil means nobody listens
	OnBadEnd func(guest string, f oops.Finding) // called at once for every finding; nil means nobody listens
}

// A Lab is a running spec. Its methods may be called from many goroutines.
type Lab struct {
	spec    Spec
	env     Env
	accel   string
	sockets string // short-named folder for unix sockets, outside Dir: their paths are limited to 107 bytes
	vms     []*VM
	links   []*Network
	host    *client.Client
	hostCmd *proc.Process

	mu      sync.Mutex
	downed  bool
	started time.Time
	undo    stack
	tasks   sync.WaitGroup
	cancel  context.CancelFunc
	ctx     context.Context // ends in Down
}

// Spec is what the lab was made of, with every default filled in and the accelerator chosen.
func (l *Lab) Spec() Spec { return l.spec }

// Accel is the accelerator in use, "kvm" or "tcg".
func (l *Lab) Accel() string { return l.accel }

// Dir is where the lab leaves its evidence.
func (l *Lab) Dir() string { return l.env.Dir }

// Started is when Up began.
func (l *Lab) Started() time.Time { return l.started }

// Timeout is the table's entry for this lab.
func (l *Lab) Timeout(w Wait) time.Duration { return Timeout(w, l.accel, l.spec.Nesting) }

// Host is the agent in the lab's own network namespace: the other end of every link.
func (l *Lab) Host() *client.Client { return l.host }

// Guests are the lab's guests in the spec's order.
func (l *Lab) Guests() []*VM { return append([]*VM(nil), l.vms...) }

// Guest returns the guest of that name, or nil.
func (l *Lab) Guest(name string) *VM {
	for _, v := range l.vms {
		if v.spec.Name == name {
			return v
		}
	}
	return nil
}

// Link returns the link of that name, or nil.
func (l *Lab) Link(name string) *Network {
	for _, n := range l.links {
		if n.spec.Name == name {
			return n
		}
	}
	return nil
}

// Findings are all guests' findings, guest by guest.
func (l *Lab) Findings() []oops.Finding {
	var all []oops.Finding
	for _, v := range l.vms {
		all = append(all, v.Findings()...)
	}
	return all
}

// DialHost starts another agent on the lab's own side and returns the connection to it; closing the connection ends it.
func (l *Lab) DialHost(ctx context.Context) (net.Conn, error) {
	conn, p, err := startHostAgent(l.ctx, l.env)
	if err != nil {
		return nil, err
	}
	l.tasks.Go(func() { p.Wait() })
	return conn, nil
}

func (l *Lab) logf(format string, args ...any) {
	if l.env.Logf != nil {
		l.env.Logf(format, args...)
	}
}

// evidence makes a folder below Dir for one guest or one purpose.
func (e Env) evidence(elem ...string) (string, error) {
	dir := filepath.Join(append([]string{e.Dir}, elem...)...)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", infra("make evidence folder: %w", err)
	}
	return dir, nil
}
