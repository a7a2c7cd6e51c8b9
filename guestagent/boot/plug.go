package boot

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"picolab/guestagent/module"
	"picolab/guestagent/wire"
)

// vsockModules are what the agent is reached by; without a modules file they are tried anyway.
var vsockModules = []string{"vmw_vsock_virtio_transport"}

// coldPlug loads modules: those the image names, those of the devices present, those of devices that come.
type coldPlug struct {
	set   *module.Set
	named []string
	last  func()        // what else there is to do before done; may be nil
	done  chan struct{} // closed when the devices present at boot are served

	greeted chan struct{} // closed at the first Hello
	once    sync.Once

	mu       sync.Mutex
	loaded   []string
	failures []string
}

func newColdPlug(set *module.Set, named []string) *coldPlug {
	return &coldPlug{set: set, named: named, done: make(chan struct{}), greeted: make(chan struct{})}
}

// first loads only what listening needs. A kernel that has vsock built in needs nothing.
func (p *coldPlug) first() error {
	var errs []error
	for _, n := range vsockModules {
		if err := p.set.Load(n); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// greet lets run begin.
func (p *coldPlug) greet() { p.once.Do(func() { close(p.greeted) }) }

// patience is how long run leaves the only CPU to whoever is about to say Hello, or to the first prompt.
const patience = time.Second

// run loads the named modules in order, then by the devices' aliases. It begins at the first Hello: what waits for devices
// asks for it with Settle, what waits for the agent should not wait for them.
func (p *coldPlug) run(ctx context.Context) {
	defer close(p.done)
	select {
	case <-p.greeted:
	case <-time.After(patience):
	case <-ctx.Done():
	}
	for _, n := range p.named {
		p.note(n, nil, p.set.Load(n))
	}
	for _, alias := range modaliases("/sys") {
		if ctx.Err() != nil {
			return
		}
		loaded, err := p.set.LoadAlias(alias)
		p.note(alias[:min(len(alias), aliasShown)], loaded, err)
	}
	if p.last != nil {
		p.last()
	}
}

// aliasShown is as much of an alias as messages have: a processor's lists all its features.
const aliasShown = 60

// modaliases are the aliases of the devices present, each once. The processor is one of them: it is not on a bus, and what it
// can do, run virtual machines for one thing, has drivers too (Linux, Documentation/ABI/testing/sysfs-devices-system-cpu).
func modaliases(sys string) []string {
	files, _ := filepath.Glob(filepath.Join(sys, "bus/*/devices/*/modalias")) // the pattern is well-formed
	var aliases []string
	seen := make(map[string]bool)
	for _, f := range append(files, filepath.Join(sys, "devices/system/cpu/modalias")) {
		b, err := os.ReadFile(f)
		alias := strings.TrimSpace(string(b))
		if err != nil || alias == "" || seen[alias] {
			continue
		}
		seen[alias] = true
		aliases = append(aliases, alias)
	}
	return aliases
}

// note keeps what Settle reports.
func (p *coldPlug) note(what string, loaded []string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.loaded = append(p.loaded, loaded...)
	if err != nil {
		p.failures = append(p.failures, what+": "+err.Error())
		logf("%s: %v", what, err)
	}
}

// settle waits for run.
func (p *coldPlug) settle(ctx context.Context) (*wire.SettleReply, error) {
	select {
	case <-p.done:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return &wire.SettleReply{Loaded: p.loaded, Failures: p.failures}, nil
}

// watch loads modules for devices that come later.
func (p *coldPlug) watch(ctx context.Context) {
	err := uevents(ctx, func(msg []byte) {
		if alias := addedAlias(msg); alias != "" {
			loaded, err := p.set.LoadAlias(alias)
			p.note(alias, loaded, err)
		}
	})
	check("hot plug", err)
}

// addedAlias is the modalias of a device that a uevent announces: "add@/devices/...\0ACTION=add\0...\0MODALIAS=...\0".
func addedAlias(msg []byte) string {
	if !bytes.HasPrefix(msg, []byte("add@")) {
		return ""
	}
	for f := range bytes.SplitSeq(msg, []byte{0}) {
		if a, ok := bytes.CutPrefix(f, []byte("MODALIAS=")); ok {
			return string(a)
		}
	}
	return ""
}
