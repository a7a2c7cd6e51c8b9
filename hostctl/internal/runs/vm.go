package runs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"time"

	"picolab/guestagent/client"
	"picolab/guestagent/wire"
	"picolab/hostctl/catalogue"
	"picolab/hostctl/internal/oops"
	"picolab/hostctl/internal/place"
	"picolab/hostctl/internal/probe"
	"picolab/hostctl/internal/remote"
	"picolab/hostctl/internal/sandbox"
	"picolab/hostctl/lab"
	"picolab/hostctl/report"
	"picolab/images/manifest"
)

// Entries of the sandbox around a host VM.
const (
	vmEntry       = "run-vm"
	vmDoctorEntry = "doctor-vm"
)

func init() {
	sandbox.Register(vmEntry, insideVM(Catalogue, entry))
	sandbox.Register(vmDoctorEntry, doctorVM)
}

// Memory of a host VM in MiB: its own, and that of the guests of one lab.
const (
	vmMemory    = 1536
	guestMemory = 512
	vmCPUs      = 2
)

// hostsDir is where a run keeps what host VMs leave: console, command line, QMP log.
const hostsDir = "hosts"

// maxVMs is how many host VMs in a row may fail without a result before the run is given up: one more when they do boot.
const maxVMs = 2

// insideVM runs a job on host VMs, there with an entry that knows the same cases. Its exit code says only whether it came
// to its end.
func insideVM(cases func() (*catalogue.Set, error), inner string) func(context.Context, []byte) int {
	return func(ctx context.Context, payload []byte) int {
		j := job{cases: cases}
		err := json.Unmarshal(payload, &j)
		j.Inner = inner
		if err == nil {
			err = j.onVMs(ctx)
		}
		if err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "hostctl run:", err)
			return report.ExitError
		}
		return 0
	}
}

// onVMs runs the job on one host VM, and on another one when that failed.
func (j job) onVMs(ctx context.Context) error {
	plan, err := j.plan()
	if err != nil {
		return err
	}
	results, err := report.Append(filepath.Join(place.InsideOut, report.ResultsFile))
	if err != nil {
		return err
	}
	defer results.Close()
	progress := catalogue.NewProgress(os.Stdout, len(plan.Instances()), j.Terminal, j.Color)
	defer progress.Close()
	c := &collector{dir: place.InsideOut, job: j, plan: plan, results: results, progress: progress}
	for failures := 0; !c.over() && ctx.Err() == nil; {
		before := len(c.done)
		err := c.onVM(ctx, vmSpec(j.Accel, memoryFor(plan)))
		if err == nil && len(c.done) == before {
			err = errNothing
		}
		if err == nil || ctx.Err() != nil {
			continue
		}
		if failures++; len(c.done) > before {
			failures = 1
		}
		if err := c.lost(err, failures); err != nil {
			return err
		}
	}
	return nil
}

// errNothing is a run inside that came to its end without a result; trying again for ever would not help.
var errNothing = errors.New("the run inside ended without a result")

// lost gives the instance that ran on a host that failed its result; all others too when it makes no sense to go on.
func (c *collector) lost(cause error, failures int) error {
	var ids []string
	switch {
	case isEnd(cause), failures > maxVMs, failures == maxVMs && !c.booted:
		ids = c.rest()
	case c.running != "":
		ids = []string{c.running}
	case failures == maxVMs: // nobody hears of one that kills its host at once; it is the next one each time
		ids = c.rest()[:1]
	}
	if len(ids) == 0 {
		c.progress.Line("host vm: " + cause.Error())
		return nil
	}
	host := report.Host{Name: c.job.HostName, Kind: VM}
	return c.fail(ids, host, "host vm: "+cause.Error(), c.hostLogs()...)
}

func isEnd(err error) bool {
	var e *endError
	return errors.As(err, &e)
}

// hostLogs are the present host VM's logs, as evidence.
func (c *collector) hostLogs() []string {
	var names []string
	for _, name := range []string{"console.log", "qmp.log", "argv.txt"} {
		name = filepath.Join(hostsDir, vmName(c.boot), name)
		if _, err := os.Stat(filepath.Join(c.dir, name)); err == nil {
			names = append(names, name)
		}
	}
	return names
}

// vmName is the VM's name: that of its folder too.
func vmName(boot int) string {
	if boot > 1 {
		return VM + "-" + strconv.Itoa(boot)
	}
	return VM
}

// memoryFor is what the largest lab of a plan wants the VM to have.
func memoryFor(plan catalogue.Plan) int {
	guests := 1
	for _, g := range plan.Groups {
		guests = max(guests, len(g.Topology.Guests))
	}
	return vmMemory + guests*guestMemory
}

func vmSpec(accel string, memory int) lab.Spec {
	return lab.Spec{Name: "host", Accel: accel, Guests: []lab.Guest{{Image: "host", CPUs: vmCPUs, MemoryMiB: memory}}}
}

// onVM boots a host VM and runs on it what is left to run.
func (c *collector) onVM(ctx context.Context, spec lab.Spec) error {
	c.boot++
	c.running, c.booted = "", false
	spec.Guests[0].Name = vmName(c.boot)
	c.progress.Doing("boot host " + spec.Guests[0].Name)
	h, err := bootVM(ctx, spec, filepath.Join(place.InsideOut, hostsDir))
	if err != nil {
		return err
	}
	defer h.down()
	c.booted = true
	c.progress.Line(fmt.Sprintf("boot     %-56s %6.1fs", "host "+h.String(), h.took.Seconds()))
	j := c.job
	j.Selectors, j.Axes, j.Nesting = c.rest(), nil, h.nesting()
	if j.Accel == lab.AccelKVM { // asked for and there, for the VM; whether it nests is for the VM to find out
		j.Accel = lab.AccelAuto
	}
	return h.relay(ctx, order{Run: &j}, c.take)
}

// hostVM is a running host VM with a relay's program in it.
type hostVM struct {
	lab     *lab.Lab
	vm      *lab.VM
	took    time.Duration // to be ready for a relay
	program string        // path there
	died    chan oops.Finding
}

// bootVM boots the host image; evidence goes below dir. It must run inside a sandbox.
func bootVM(ctx context.Context, spec lab.Spec, dir string) (*hostVM, error) {
	m, err := manifest.Read(filepath.Join(place.InsideImages, "host"))
	if err != nil {
		return nil, err
	}
	if err := place.Bootable(m); err != nil {
		return nil, err
	}
	start := time.Now()
	h := &hostVM{died: make(chan oops.Finding, 1)}
	h.lab, err = lab.Up(ctx, spec, lab.Env{Dir: dir, Images: place.InsideImages, Cache: place.InsideCache, OnFinding: h.found})
	if err != nil {
		return nil, err
	}
	h.vm = h.lab.Guests()[0]
	if err := h.install(ctx); err != nil {
		h.down()
		return nil, err
	}
	h.took = time.Since(start)
	return h, nil
}

// found hears of everything bad the VM's kernel says; the first that ends it is kept.
func (h *hostVM) found(_ string, f oops.Finding) {
	if f.Fatal() || f.Kind == lab.GuestPanicked || f.Kind == lab.QEMUEnded {
		select {
		case h.died <- f:
		default:
		}
	}
}

// String names the VM for people.
func (h *hostVM) String() string {
	return fmt.Sprintf("%s (image %.12s, %s, %d MiB)", h.vm.Name(), h.vm.Image().ID, h.lab.Accel(), h.vm.Spec().MemoryMiB)
}

// nesting is how many emulated machines are around what runs inside.
func (h *hostVM) nesting() int {
	if h.lab.Accel() == lab.AccelTCG {
		return h.lab.Spec().Nesting + 1
	}
	return h.lab.Spec().Nesting
}

// vmModules are what labs use and no device announces. The kernel would load some of them by itself, with a modprobe(8)
// that the image need not have.
var vmModules = []string{"tun", "bridge", "vhost_net", "vhost_vsock", "kvm_amd", "kvm_intel"}

// install waits for the VM's drivers and root file system and copies this very program into it: whatever version of
// hostctl the image has, the run's cases are those of the one that was called.
func (h *hostVM) install(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, h.lab.Timeout(lab.WaitMachine))
	defer cancel()
	agent := h.vm.Agent()
	if _, err := agent.Settle(ctx); err != nil {
		return fmt.Errorf("wait for the drivers of host %s: %w", h.vm.Name(), err)
	}
	for _, name := range vmModules {
		_ = agent.Modprobe(ctx, name) // what is missing is found, and told, by the probes inside
	}
	if _, err := agent.Stat(ctx, place.ApplianceRoot); err != nil {
		return fmt.Errorf("host %s has no root file system at %s: %w", h.vm.Name(), place.ApplianceRoot, err)
	}
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("read this program: %w", err)
	}
	defer self.Close()
	h.program = path.Join("/run/picolab/relay", remote.Program)
	if err := agent.Mkdir(ctx, path.Dir(h.program), 0o700); err != nil {
		return fmt.Errorf("copy hostctl to host %s: %w", h.vm.Name(), err)
	}
	if _, _, err := agent.Put(ctx, h.program, 0o700, self); err != nil {
		return fmt.Errorf("copy hostctl to host %s: %w", h.vm.Name(), err)
	}
	return nil
}

// relay has the VM's relay carry out an order. A VM that dies or hangs meanwhile is an error that says so, with the last
// lines of its console.
func (h *hostVM) relay(ctx context.Context, o order, handle func(remote.Message) error) error {
	run := func(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer) error {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		ended := make(chan struct{})
		defer close(ended)
		go func() {
			select {
			case f := <-h.died:
				cancel(fmt.Errorf("its kernel died: %s", f.Title))
			case <-ended:
			}
		}()
		_, err := h.vm.Agent().Exec(ctx, client.ExecOptions{Argv: []string{h.program}, Stdin: stdin, Stdout: stdout, Stderr: stderr,
			Limit: math.MaxInt64, Timeout: endless})
		if wire.CodeOf(err) == wire.Code_LOST { // what its kernel said of that may not be whole yet
			select {
			case <-ctx.Done():
			case <-time.After(h.lab.Timeout(lab.WaitStop)):
			}
		}
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return err
	}
	l := limits{silence: h.lab.Timeout(lab.WaitAlive), grace: h.lab.Timeout(lab.WaitHost)}
	err := listen(ctx, run, o, l, handle)
	if err == nil || isEnd(err) || ctx.Err() != nil {
		return err
	}
	return &lab.GuestError{Guest: h.vm.Name(), Err: err, Findings: h.vm.Findings(), Console: h.vm.Console().LastLines(hostLines)}
}

const (
	endless   = 30 * 24 * time.Hour // the run inside has limits of its own
	hostLines = 15                  // of the console in a reason
)

func (h *hostVM) down() {
	ctx, cancel := context.WithTimeout(context.Background(), h.lab.Timeout(lab.WaitStop)+h.lab.Timeout(lab.WaitHost))
	defer cancel()
	if err := h.lab.Down(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "hostctl run:", err)
	}
}

// doctorVM probes everything inside a host VM and prints the answers.
func doctorVM(ctx context.Context, payload []byte) int {
	var accel string
	err := json.Unmarshal(payload, &accel)
	var answers []probe.Probe
	if err == nil {
		answers, err = askVM(ctx, accel)
	}
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(answers)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "hostctl doctor:", err)
		return report.ExitError
	}
	return 0
}

func askVM(ctx context.Context, accel string) ([]probe.Probe, error) {
	h, err := bootVM(ctx, withName(vmSpec(accel, vmMemory)), os.TempDir())
	if err != nil {
		return nil, err
	}
	defer h.down()
	booted := probe.Probe{Name: probe.HostVM, OK: true, Evidence: fmt.Sprintf("host %v answered after %.1f s", h, h.took.Seconds())}
	var answers []probe.Probe
	if err := h.relay(ctx, order{Doctor: true}, probes(&answers)); err != nil {
		return nil, err
	}
	return append([]probe.Probe{booted}, answers...), nil
}

func withName(s lab.Spec) lab.Spec {
	s.Guests[0].Name = VM
	return s
}
