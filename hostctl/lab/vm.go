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
	"picolab/hostctl/internal/proc"
	"picolab/hostctl/internal/qemu"
)

// A State is where a guest stands.
type State string

// The states of a guest.
const (
	StateOff      State = "off"      // no QEMU process
	StateBooting  State = "booting"  // QEMU runs, no Hello yet
	StateUp       State = "up"       // the agent answered Hello
	StatePanicked State = "panicked" // GUEST_PANICKED arrived
	StateDead     State = "dead"     // QEMU ended by itself
)

// A VM is one guest of a running lab.
type VM struct {
	lab     *Lab
	spec    Guest
	index   int
	dir     string // evidence
	token   string // boot token, hex; anew with every QEMU start
	taps    []string
	argv    []string
	device  vsockDevice
	console *Console

	mu       sync.Mutex
	state    State
	agent    *client.Client
	hello    *wire.HelloReply
	monitor  *monitor
	process  *proc.Process
	findings []oops.Finding
	expected bool // the coming end of QEMU is wanted
	started  time.Time
	bootTime time.Duration
}

// Name is the guest's name in the spec.
func (v *VM) Name() string { return v.spec.Name }

// Spec is the guest's description with defaults filled in.
func (v *VM) Spec() Guest { return v.spec }

// Agent is the connection to the guest's agent; nil while the guest is not up. After a reboot call Reconnect.
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

// BootTime is how long the last start took, from QEMU's start to the Hello.
func (v *VM) BootTime() time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.bootTime
}

// Token is what a new connection's Hello must carry, hex.
func (v *VM) Token() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.token
}

// Dial opens another connection to the guest's agent. A dial is not "up": say Hello with Token first.
func (v *VM) Dial(ctx context.Context) (net.Conn, error) { return v.device.Dial(ctx, agentPort) }

// Monitor is QEMU's QMP door, logged to qmp.log; nil while QEMU does not run.
func (v *VM) Monitor() qemu.Monitor {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.monitor == nil {
		return nil
	}
	return v.monitor
}

// Console is the guest's serial console.
func (v *VM) Console() *Console { return v.console }

// ConsolePath is the file that holds everything the guest ever wrote to its console.
func (v *VM) ConsolePath() string { return filepath.Join(v.dir, "console.log") }

// Dir is where the guest's evidence lies.
func (v *VM) Dir() string { return v.dir }

// Argv is the QEMU command line; argv.txt holds it ready to paste.
func (v *VM) Argv() []string { return slices.Clone(v.argv) }

// MAC is the address of the guest's i-th NIC.
func (v *VM) MAC(i int) string { return v.spec.NICs[i].MAC }

// Tap is the host's end of the guest's i-th NIC, "" for backend user.
func (v *VM) Tap(i int) string { return v.taps[i] }

// NetdevID and DeviceID are the i-th NIC's names in QMP.
func (v *VM) NetdevID(i int) string { return netdevID(i) }

// DeviceID is the i-th NIC's device name in QMP.
func (v *VM) DeviceID(i int) string { return deviceID(i) }

// Addr is the address planned for the i-th NIC on its link; invalid when the NIC has no link or the link no addresses.
// Nothing assigns it: a case does, with the agent.
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
