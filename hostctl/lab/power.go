package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"picolab/guestagent/client"
	"picolab/guestagent/wire"
	"picolab/hostctl/internal/initrd"
	"picolab/hostctl/internal/oops"
	"picolab/hostctl/internal/qemu"
	"picolab/images/manifest"
)

// A run is one QEMU process of a guest, from start to end.
type run struct {
	machine *qemu.Machine
	started time.Time
	ended   chan struct{} // closed when QEMU has ended and everything about it is recorded

	once   sync.Once
	broken chan struct{} // closed when waiting for the guest has become pointless

	// Guarded by VM.mu.
	wanted  bool  // the lab asked QEMU to end
	poweron bool  // the guest has not powered itself off
	err     error // why QEMU ended, once ended is closed
}

func (r *run) breakOff() { r.once.Do(func() { close(r.broken) }) }

// Start starts QEMU with the guest's argv and waits for Hello. A guest that runs already is an error.
func (v *VM) Start(ctx context.Context) error {
	v.power.Lock()
	defer v.power.Unlock()
	release, err := v.lab.turn(ctx)
	if err != nil {
		return err
	}
	defer release()
	if err := v.prepareDisks(); err != nil {
		return infra("prepare guest %s: %w", v.spec.Name, err)
	}
	r, err := v.startQEMU(ctx, initrd.NewToken())
	switch {
	case err != nil:
		return err
	case v.spec.Bare():
		v.setState(StateRunning)
		return nil
	}
	return v.awaitHello(ctx, r.started, "")
}

// startQEMU writes a token into the initrd, starts the process and those who watch it.
func (v *VM) startQEMU(ctx context.Context, token string) (*run, error) {
	if v.current() != nil {
		return nil, fmt.Errorf("start guest %s: it runs already", v.spec.Name)
	}
	if err := v.writeInitrd(token); err != nil {
		return nil, infra("prepare guest %s: %w", v.spec.Name, err)
	}
	log, err := v.openLog()
	if err != nil {
		return nil, err
	}
	r := &run{started: time.Now(), ended: make(chan struct{}), broken: make(chan struct{}), poweron: true}
	if r.machine, err = v.launch(ctx, v.Config(), log); err != nil {
		log.Close()
		return nil, infra("start guest %s: %w", v.spec.Name, err)
	}
	v.mu.Lock()
	v.run, v.token = r, token
	v.mu.Unlock()
	v.setState(StateBooting)
	if err := v.attend(ctx, r, v.config.ConsoleSocket, log); err != nil {
		return nil, infra("start guest %s: %w", v.spec.Name, err)
	}
	return r, nil
}

// openLog opens the file that has what every QEMU of the guest was told and told.
func (v *VM) openLog() (*os.File, error) {
	log, err := os.OpenFile(filepath.Join(v.dir, "qmp.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, infra("open QMP log: %w", err)
	}
	return log, nil
}

// attend starts those who watch a QEMU that is the guest's now: its events, to log, and its console.
func (v *VM) attend(ctx context.Context, r *run, console string, log io.Closer) error {
	v.lab.tasks.Go(func() {
		defer log.Close()
		v.watch(r)
	})
	if err := v.console.connect(ctx, console); err != nil {
		return err
	}
	v.lab.tasks.Go(v.console.drain)
	return nil
}

// writeInitrd leaves what the guest boots from, if it boots an image.
func (v *VM) writeInitrd(token string) error {
	if v.spec.Bare() {
		return nil
	}
	b := initrd.Boot{Token: token, Image: v.image.ID, Hostname: v.spec.Name, Port: agentPort, Swap: v.swapDevice()}
	return initrd.Write(v.initrd(), v.image.Segments(), v.lab.spec.emulated(), b)
}

// launch runs QEMU on the lab's context; ctx only ends the waiting for QMP.
func (v *VM) launch(ctx context.Context, c qemu.Config, log *os.File) (*qemu.Machine, error) {
	limit := v.lab.Timeout(WaitStart)
	v.lab.logf("waiting up to %v for QEMU of %s", limit, v.spec.Name)
	running, kill := context.WithCancel(v.lab.ctx)
	stop := context.AfterFunc(ctx, kill)
	m, err := qemu.Start(running, c, qemu.StartOptions{Deadline: limit, QMPLog: log})
	if err != nil {
		kill()
		return nil, errors.Join(err, ctx.Err())
	}
	if !stop() {
		m.Wait()
		return nil, context.Cause(ctx)
	}
	context.AfterFunc(v.lab.ctx, kill)
	return m, nil
}

// watch takes QEMU's events until it ends, then records how it ended.
func (v *VM) watch(r *run) {
	for e := range r.machine.Monitor.Events(context.WithoutCancel(v.lab.ctx)) {
		v.event(r, e)
	}
	err := r.machine.Wait()
	v.mu.Lock()
	expected := r.wanted || err == nil && !r.poweron
	r.err = err
	moved := v.run != r // the guest goes on in another one
	var agent *client.Client
	if !moved {
		v.run = nil
		agent, v.agent = v.agent, nil
	}
	v.mu.Unlock()
	if agent != nil {
		agent.Close()
	}
	switch {
	case moved:
	case expected:
		v.setState(StateOff)
	default:
		v.setState(StateDead)
		v.report(oops.Finding{Kind: QEMUEnded, Title: fmt.Sprintf("QEMU ended by itself: %v", err), Line: fmt.Sprint(err)})
	}
	r.breakOff()
	close(r.ended)
}

// event records what QEMU tells of the guest's life.
func (v *VM) event(r *run, e qemu.Event) {
	switch e.Name {
	case "GUEST_PANICKED":
		v.setState(StatePanicked)
		v.report(oops.Finding{Kind: GuestPanicked, Title: "the guest's kernel panicked", Line: fmt.Sprint(e.Data)})
	case "SHUTDOWN":
		if guest, _ := e.Data["guest"].(bool); guest {
			v.poweredOff(r)
		}
	case "SUSPEND_DISK":
		v.poweredOff(r)
	}
}

// poweredOff is told that QEMU ends because the guest wants it to.
func (v *VM) poweredOff(r *run) {
	v.lab.logf("guest %s powered itself off", v.spec.Name)
	v.mu.Lock()
	r.poweron = false
	v.mu.Unlock()
}

// current is the running QEMU, or nil.
func (v *VM) current() *run {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.run
}

// Reconnect waits until the guest's agent answers a new connection, after a resume or a reboot that the guest began by
// itself, and makes it the guest's Agent.
func (v *VM) Reconnect(ctx context.Context) error {
	v.power.Lock()
	defer v.power.Unlock()
	return v.awaitHello(ctx, time.Now(), "")
}

// Reboot makes the guest reboot itself and waits for the Hello of its next life.
func (v *VM) Reboot(ctx context.Context) error {
	v.power.Lock()
	defer v.power.Unlock()
	agent, hello := v.Agent(), v.Hello()
	if agent == nil {
		return fmt.Errorf("reboot guest %s: it is %s", v.spec.Name, v.State())
	}
	release, err := v.lab.turn(ctx)
	if err != nil {
		return err
	}
	defer release()
	began := time.Now()
	if err := agent.Power(ctx, "reboot"); err != nil {
		return v.blame(fmt.Errorf("reboot: %w", err))
	}
	v.setState(StateBooting)
	return v.awaitHello(ctx, began, hello.GetBootId())
}

// PowerOff asks the guest to power itself off and waits for QEMU's end. A guest that does not is its own fault, and is
// stopped.
func (v *VM) PowerOff(ctx context.Context) error { return v.powerDown(ctx, "off") }

// powerDown has the guest end its QEMU by a power action.
func (v *VM) powerDown(ctx context.Context, action string) error {
	v.power.Lock()
	defer v.power.Unlock()
	r, agent := v.current(), v.Agent()
	if r == nil {
		return nil
	}
	if agent == nil {
		return fmt.Errorf("power %s of guest %s: it is %s", action, v.spec.Name, v.State())
	}
	limit := v.lab.Timeout(WaitShutdown)
	v.lab.logf("waiting up to %v for %s to power %s", limit, v.spec.Name, action)
	wait, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := agent.Power(wait, action); err != nil {
		v.stop(r)
		return v.blame(fmt.Errorf("power %s: %w", action, err))
	}
	select {
	case <-r.ended:
		return nil
	case <-wait.Done():
		v.stop(r)
		return v.blame(fmt.Errorf("power %s: still there after %v", action, limit))
	}
}

// Stop ends QEMU whatever the guest is doing, and waits for its end. A guest that does not run is no error.
func (v *VM) Stop(context.Context) error {
	v.power.Lock()
	defer v.power.Unlock()
	if r := v.current(); r != nil {
		v.stop(r)
	}
	return nil
}

func (v *VM) stop(r *run) {
	v.mu.Lock()
	r.wanted = true
	agent := v.agent
	v.agent = nil
	v.mu.Unlock()
	if agent != nil {
		agent.Close()
	}
	r.machine.Stop(v.lab.Timeout(WaitStop))
	<-r.ended
}

// Between two tries of a Hello. The console's ready line cuts it short, so it matters only to guests that have none.
const helloInterval = 200 * time.Millisecond

// helloWait is the kind of waiting for the guest's Hello. One that may sleep unpacks its kernel itself, and may have its
// memory to read from the disk.
func (v *VM) helloWait() Wait {
	if v.image.Kind == manifest.KindHost || v.spec.SwapMiB > 0 {
		return WaitMachine
	}
	return WaitHello
}

// awaitHello dials until the agent answers Hello from a boot other than the one named, and makes it the guest's Agent. The
// error is the guest's fault, or ours when QEMU failed.
func (v *VM) awaitHello(ctx context.Context, since time.Time, otherBoot string) error {
	r := v.current()
	if r == nil {
		return fmt.Errorf("wait for guest %s: it does not run", v.spec.Name)
	}
	v.dropAgent()
	limit := v.lab.Timeout(v.helloWait())
	v.lab.logf("waiting up to %v for Hello from %s", limit, v.spec.Name)
	wait, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(helloInterval)
	defer tick.Stop()
	for {
		c, hello, err := v.hail(wait, otherBoot)
		if err == nil {
			if v.adopt(r, c, hello, time.Since(since)) {
				return nil
			}
			c.Close()
			return v.brokenBoot(r)
		}
		select {
		case <-r.broken:
			return v.brokenBoot(r)
		case <-wait.Done():
			if ctx.Err() != nil {
				return infra("wait for guest %s: %w", v.spec.Name, context.Cause(ctx))
			}
			return v.blame(fmt.Errorf("no Hello within %v: %w", limit, err))
		case <-v.ready:
		case <-tick.C:
		}
	}
}

// hail opens one connection and says Hello.
func (v *VM) hail(ctx context.Context, otherBoot string) (*client.Client, *wire.HelloReply, error) {
	ctx, cancel := context.WithTimeout(ctx, v.lab.Timeout(WaitAgent))
	defer cancel()
	conn, err := v.Dial(ctx)
	if err != nil {
		return nil, nil, err
	}
	c := client.New(conn)
	hello, err := c.Hello(ctx, v.Token())
	if err == nil && otherBoot != "" && hello.GetBootId() == otherBoot {
		err = errors.New("the guest has not rebooted yet")
	}
	if err != nil {
		c.Close()
		return nil, nil, err
	}
	return c, hello, nil
}

// adopt makes c the guest's agent, unless QEMU has ended meanwhile.
func (v *VM) adopt(r *run, c *client.Client, hello *wire.HelloReply, took time.Duration) bool {
	v.mu.Lock()
	alive := v.run == r
	if alive {
		v.agent, v.hello, v.bootTime = c, hello, took
	}
	v.mu.Unlock()
	if !alive {
		return false
	}
	v.setState(StateUp)
	v.lab.logf("guest %s is up after %v (agent %s, Linux %s)", v.spec.Name, took.Round(time.Millisecond), hello.GetVersion(), hello.GetKernel())
	return true
}

// dropAgent closes the connection that a reboot or a resume has made useless.
func (v *VM) dropAgent() {
	v.mu.Lock()
	agent := v.agent
	v.agent = nil
	v.mu.Unlock()
	if agent != nil {
		agent.Close()
	}
}

// brokenBoot says why a guest will never answer: its QEMU failed (our fault), or it crashed or powered itself off.
func (v *VM) brokenBoot(r *run) error {
	select {
	case <-r.ended:
	case <-time.After(v.lab.Timeout(WaitOops)): // a crash with QEMU still there: let the report become whole
		return v.blame(errors.New("crashed before its agent answered"))
	}
	if r.err != nil {
		return infra("QEMU of guest %s: %w", v.spec.Name, r.err)
	}
	return v.blame(errors.New("powered itself off before its agent answered"))
}
