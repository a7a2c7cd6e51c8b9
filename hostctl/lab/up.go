package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"picolab/hostctl/internal/flock"
	"picolab/hostctl/internal/netdev"
	"picolab/hostctl/internal/probe"
	"picolab/hostctl/internal/qemu"
	"picolab/images/manifest"
)

// Up makes the lab and waits until every guest's agent has answered Hello. It must run inside a sandbox. When it fails,
// everything made so far is taken away again and the error is a *SpecError, a *GuestError or an *InfraError. ctx ends the
// waiting, not the lab: Down does that.
func Up(ctx context.Context, spec Spec, env Env) (*Lab, error) {
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	l := &Lab{spec: spec.WithDefaults(), env: env, started: time.Now(), boots: make(chan struct{}, 1)}
	l.ctx, l.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if err := l.up(ctx); err != nil {
		if down := l.Down(context.WithoutCancel(ctx)); down != nil {
			l.logf("after the failure: %v", down)
		}
		if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) { // whatever broke, broke because of it
			err = &InfraError{Err: fmt.Errorf("bring lab up: %w: %w", cause, err)}
		}
		return nil, infra("%w", err)
	}
	return l, nil
}

func (l *Lab) up(ctx context.Context) error {
	steps := []func(context.Context) error{
		l.chooseAccel, l.chooseBackends, l.makeFolders, l.loadImages, l.askVersion, l.makeLinks, l.startHost, l.makeGuests, l.keepCounters, l.startCaptures, l.bootGuests,
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// chooseAccel settles "auto": KVM only where a guest was seen to run under it. A machine that is emulated itself counts as
// one level of nesting unless the spec knows better.
func (l *Lab) chooseAccel(ctx context.Context) error {
	if l.spec.Nesting == 0 {
		l.spec.Nesting, _ = probe.NestingLevel()
	}
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil && len(l.spec.Guests) > 0 {
		return infra("find QEMU in the host image (is it built from a recipe with QEMU?): %w", err)
	}
	if l.spec.Accel == AccelTCG {
		return nil
	}
	ok, evidence := probe.AskKVM(ctx, l.env.Cache)
	switch {
	case ok:
		l.spec.Accel = AccelKVM
	case l.spec.Accel == AccelKVM:
		return infra("accelerator kvm does not work here: %s", evidence)
	default:
		l.logf("accelerator tcg: %s", evidence)
		l.spec.Accel = AccelTCG
	}
	return nil
}

// chooseBackends settles "auto": taps where one can be made. What is asked for and only taps can do is a bad spec elsewhere.
func (l *Lab) chooseBackends(context.Context) error {
	if !l.spec.some(func(n NIC) bool { return n.Backend == BackendAuto }) {
		return nil
	}
	tap, evidence := netdev.ProbeTap()
	if !tap {
		l.logf("backend vale: %s", evidence)
	}
	l.spec = l.spec.withBackends(tap)
	return l.spec.Validate()
}

// askVersion asks for QEMU's version where the argv depends on it: for rings that are ours, under TCG.
func (l *Lab) askVersion(ctx context.Context) error {
	ours := func(g Guest) bool { return slices.ContainsFunc(g.NICs, NIC.vhostUser) }
	if l.spec.Accel != AccelTCG || !slices.ContainsFunc(l.spec.Guests, ours) {
		return nil
	}
	var err error
	l.version, err = qemu.AskVersion(ctx)
	return err
}

func (l *Lab) makeFolders(context.Context) error {
	if err := os.MkdirAll(l.env.Dir, 0o755); err != nil {
		return infra("make evidence folder: %w", err)
	}
	// A fixed name, so that the same spec gives the same argv; in a sandbox /tmp is the lab's own.
	dir := filepath.Join(os.TempDir(), "lab-"+l.spec.Name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return infra("make socket folder (does another lab of this name run in this sandbox?): %w", err)
	}
	l.sockets = dir
	l.undo.push("remove sockets", func(context.Context) error { return os.RemoveAll(dir) })
	return nil
}

// loadImages reads every guest's manifest before anything is started.
func (l *Lab) loadImages(context.Context) error {
	for _, g := range l.spec.Guests {
		v := &VM{lab: l, spec: g, state: StateOff, ready: make(chan struct{}, 1)}
		l.vms = append(l.vms, v)
		if g.Bare() {
			continue
		}
		dir := g.Image
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(l.env.Images, dir)
		}
		m, err := manifest.Read(dir)
		if err != nil {
			return infra("read image of guest %s: %w", g.Name, err)
		}
		if m.Kernel() == "" || len(m.Segments()) == 0 {
			return &SpecError{Problems: []string{fmt.Sprintf("guest %s: image %s has no kernel and segments to boot", g.Name, g.Image)}}
		}
		v.image = m
	}
	return nil
}

// bootGuests boots all guests: side by side under KVM, one after another where they are slow, and two boots at a time on few
// cores take more than twice as long as one.
func (l *Lab) bootGuests(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	if l.spec.emulated() {
		group.SetLimit(1)
	}
	for _, v := range l.vms {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return v.Start(ctx)
		})
	}
	return group.Wait()
}

// turn waits until this lab, and where guests are slow any lab of this machine, boots no other guest.
func (l *Lab) turn(ctx context.Context) (release func(), err error) {
	if !l.spec.emulated() {
		return func() {}, nil
	}
	limit := l.Timeout(WaitTurn)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	select {
	case l.boots <- struct{}{}:
	case <-ctx.Done():
		return nil, infra("wait for another guest's boot: %w", context.Cause(ctx))
	}
	if l.env.Cache == "" {
		return func() { <-l.boots }, nil
	}
	path := filepath.Join(l.env.Cache, "boot.lock")
	lock, err := flock.Try(path)
	if errors.Is(err, flock.ErrHeld) {
		l.logf("waiting up to %v for another lab's boot", limit)
		lock, err = flock.Wait(ctx, path)
	}
	if err != nil {
		<-l.boots
		return nil, infra("wait for another lab's boot: %w", err)
	}
	return func() { lock.Release(); <-l.boots }, nil
}
