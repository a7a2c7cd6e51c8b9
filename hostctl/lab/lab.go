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
	"picolab/hostctl/internal/qemu"
)

// Env is where a lab runs and whom it tells. The functions may be nil and are called from several goroutines.
type Env struct {
	Dir       string // evidence: GUEST/console.log, GUEST/argv.txt, GUEST/qmp.log, links/LINK.pcapng, links/LINK.switch.json; made when missing
	Images    string // base of relative image folders
	Agent     string // guestagent program for the lab's own side; default /bbin/guestagent
	Modules   string // root of the lib/modules that the lab's own side may load from; "" means that it loads none but the host image's
	Cache     string // folder shared by the labs of one machine: boot lock, KVM probe's answer; "" means neither
	Logf      func(format string, args ...any)
	OnState   func()                             // after every change of a guest's state
	OnFinding func(guest string, f oops.Finding) // at once for every finding
}

// A Lab is a running spec. Its methods may be called from many goroutines.
type Lab struct {
	spec    Spec
	env     Env
	sockets string // private folder of unix sockets and initrds, outside Dir: socket paths are limited to 107 bytes
	vms     []*VM
	links   []*Network
	host    *client.Client
	started time.Time
	version qemu.Version  // where it matters, else zero
	boots   chan struct{} // one token: who boots a guest under TCG

	ctx    context.Context // ends in Down
	cancel context.CancelFunc
	tasks  sync.WaitGroup // every goroutine of the lab

	mu       sync.Mutex
	undo     stack
	ends     int // number of those that NewEnd made
	outsides int // number of hosts made by NewOutside
}

// Spec is what the lab was made of, with every default filled in and the accelerator chosen.
func (l *Lab) Spec() Spec { return l.spec }

// Accel is the accelerator in use, "kvm" or "tcg".
func (l *Lab) Accel() string { return l.spec.Accel }

// Dir is where the lab leaves its evidence.
func (l *Lab) Dir() string { return l.env.Dir }

// Started is when Up began.
func (l *Lab) Started() time.Time { return l.started }

// Timeout is the table's entry for this lab.
func (l *Lab) Timeout(w Wait) time.Duration { return Timeout(w, l.spec.Accel, l.spec.Nesting) }

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

// Links are the lab's links in the spec's order.
func (l *Lab) Links() []*Network { return append([]*Network(nil), l.links...) }

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
func (l *Lab) DialHost() (net.Conn, error) {
	conn, p, err := startHostAgent(l.ctx, l.env, 0)
	if err != nil {
		return nil, err
	}
	l.tasks.Go(func() { p.Wait() })
	return conn, nil
}

// Down takes everything away that Up made, in the reverse order, and waits for all of it. It may be called many times
// and after a failure; the evidence stays. The error joins what could not be taken away.
func (l *Lab) Down(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.undo.run(ctx)
	l.cancel()
	l.tasks.Wait()
	if err != nil {
		return infra("take lab %s down: %w", l.spec.Name, err)
	}
	return nil
}

func (l *Lab) logf(format string, args ...any) {
	if l.env.Logf != nil {
		l.env.Logf(format, args...)
	}
}

// evidence makes the folder below Dir for one guest or one purpose.
func (l *Lab) evidence(name string) (string, error) {
	dir := filepath.Join(l.env.Dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", infra("make evidence folder: %w", err)
	}
	return dir, nil
}
