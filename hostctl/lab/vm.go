package lab

import (
	"context"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"picolab/guestagent/client"
	"picolab/guestagent/wire"
	"picolab/hostctl/internal/oops"
	"picolab/hostctl/internal/qemu"
	"picolab/images/manifest"
)

// A State is where a guest stands.
type State string

// The states of a guest.
const (
	StateOff      State = "off"      // no QEMU process: not started yet, stopped, or powered off by the guest
	StateBooting  State = "booting"  // QEMU runs, no Hello yet
	StateUp       State = "up"       // the agent answered Hello
	StateRunning  State = "running"  // QEMU runs a guest that has no agent
	StatePanicked State = "panicked" // the kernel panicked; QEMU keeps the guest paused
	StateDead     State = "dead"     // QEMU ended by itself
)

// Findings of the lab's own, beside those of the console's scanner.
const (
	GuestPanicked oops.Kind = "guest-panicked" // QEMU's pvpanic device told of a panic
	QEMUEnded     oops.Kind = "qemu-ended"     // QEMU ended though neither lab nor guest asked it to
)

// A VM is one guest of a running lab.
type VM struct {
	lab     *Lab
	spec    Guest
	dir     string // evidence
	image   *manifest.Manifest
	config  qemu.Config
	argv    []string
	ends    []string // of its NICs; see makeEnd
	device  vsockDevice
	console *Console
	scanner *oops.Scanner
	ready   chan struct{} // told when the console shows that the agent listens

	power sync.Mutex // held by Start, Stop, Reboot and the like from beginning to end
	moves int        // begun; guarded by power

	mu       sync.Mutex // guards what follows
	state    State
	token    string // of this start of QEMU, hex
	agent    *client.Client
	hello    *wire.HelloReply
	run      *run // nil while QEMU does not run
	findings []oops.Finding
	bootTime time.Duration
}

// Name is the guest's name in the spec.
func (v *VM) Name() string { return v.spec.Name }

// Spec is the guest's description with defaults filled in.
func (v *VM) Spec() Guest { return v.spec }

// Image is the manifest of the image the guest runs; nil when it boots from the network.
func (v *VM) Image() *manifest.Manifest { return v.image }

// Agent is the connection to the guest's agent; nil while the guest is not up. A reboot or a resume loses it: Reconnect.
func (v *VM) Agent() *client.Client {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.agent
}

// Hello is what the agent last said of itself; nil before the first Hello.
func (v *VM) Hello() *wire.HelloReply {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.hello
}

// BootTime is how long the last boot took, from QEMU's start (or the reset) to the Hello.
func (v *VM) BootTime() time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.bootTime
}

// Token is what a new connection's Hello must carry, in hex. It changes with every start of QEMU.
func (v *VM) Token() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.token
}

// Dial opens another connection to the guest's agent. A dial is not "up": say Hello with Token first.
func (v *VM) Dial(ctx context.Context) (net.Conn, error) { return v.device.Dial(ctx, agentPort) }

// DialPort opens a vsock connection to any port of the guest.
func (v *VM) DialPort(ctx context.Context, port uint32) (net.Conn, error) {
	return v.device.Dial(ctx, port)
}

// Monitor is QEMU's QMP door, logged to qmp.log; nil while QEMU does not run.
func (v *VM) Monitor() qemu.Monitor {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.run == nil {
		return nil
	}
	return v.run.machine.Monitor
}

// Pid is QEMU's process; 0 while it does not run.
func (v *VM) Pid() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.run == nil {
		return 0
	}
	return v.run.machine.Pid()
}

// Console is the guest's serial console.
func (v *VM) Console() *Console { return v.console }

// ConsolePath is the file that holds everything the guest ever wrote to its console.
func (v *VM) ConsolePath() string { return v.console.path }

// Dir is where the guest's evidence lies: console.log, argv.txt, qmp.log.
func (v *VM) Dir() string { return v.dir }

// Argv is the QEMU command line; argv.txt in Dir holds it ready to paste.
func (v *VM) Argv() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.argv)
}

// Config is what Argv was made of; qemu.HotplugBus wants it.
func (v *VM) Config() qemu.Config {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.config
}

// MAC is the address of the guest's i-th NIC.
func (v *VM) MAC(i int) string { return v.spec.NICs[i].MAC }

// Tap is the host's end of the guest's i-th NIC, "" for backends that have no netdev.
func (v *VM) Tap(i int) string {
	if v.spec.NICs[i].Backend != BackendTap {
		return ""
	}
	return v.ends[i]
}

// NetdevID is the i-th NIC's back-end in QMP; set_link takes it or DeviceID, and the same one must switch it on again.
func (v *VM) NetdevID(i int) string { return deviceID(i) + ".net" }

// DeviceID is the i-th NIC's device in QMP.
func (v *VM) DeviceID(i int) string { return deviceID(i) }

// Addr is the address planned for the i-th NIC on its link; invalid when the NIC has no link or the link no addresses.
// Connect assigns it, or a case does, with the agent.
func (v *VM) Addr(i int) netip.Prefix {
	n := v.lab.Link(v.spec.NICs[i].Link)
	if n == nil {
		return netip.Prefix{}
	}
	return n.guestAddr(v.spec.Name, i)
}

// State is where the guest stands now.
func (v *VM) State() State {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.state
}

// Findings are the crash reports and bad ends seen so far, oldest first.
func (v *VM) Findings() []oops.Finding {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.findings)
}

// report records a finding and tells whoever waits for the guest.
func (v *VM) report(f oops.Finding) {
	v.mu.Lock()
	v.findings = append(v.findings, f)
	if r := v.run; r != nil && (f.Fatal() || f.Kind == GuestPanicked) {
		r.breakOff()
	}
	v.mu.Unlock()
	v.lab.logf("guest %s: %s: %s", v.spec.Name, f.Kind, f.Title)
	if v.lab.env.OnFinding != nil {
		v.lab.env.OnFinding(v.spec.Name, f)
	}
}

// blame makes err the guest's fault and adds what the console tells.
func (v *VM) blame(err error) error {
	return &GuestError{Guest: v.spec.Name, Err: err, Findings: v.Findings(), Console: v.console.LastLines(consoleLines)}
}

// initrd is the file that QEMU boots the guest from.
func (v *VM) initrd() string { return filepath.Join(v.lab.sockets, v.spec.Name+".initrd") }

func (v *VM) setState(s State) {
	v.mu.Lock()
	v.state = s
	v.mu.Unlock()
	if v.lab.env.OnState != nil {
		v.lab.env.OnState()
	}
}
