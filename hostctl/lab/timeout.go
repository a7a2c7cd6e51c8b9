package lab

import "time"

// A Wait names a kind of waiting. Cases and tools never write a duration themselves: they ask Timeout.
type Wait string

// The kinds of waiting, and what each one waits for.
const (
	WaitStart    Wait = "start"    // QEMU's process to answer on its QMP socket
	WaitTurn     Wait = "turn"     // other guests of this machine to boot first, under TCG
	WaitHello    Wait = "hello"    // a booting guest's agent to answer Hello
	WaitMachine  Wait = "machine"  // the same for a host image, which has drivers and a root file system to look at, and for a guest with a swap disk
	WaitFirmware Wait = "firmware" // a firmware to boot from the network, or to find out that it cannot
	WaitAlive    Wait = "alive"    // a sign of life of a run inside a host VM; one is sent every second
	WaitAgent    Wait = "agent"    // one ordinary request to an agent that is up
	WaitHost     Wait = "host"     // one request to the lab's host side, which runs natively at every accelerator
	WaitLink     Wait = "link"     // a link to appear, to change its carrier, to be renamed
	WaitDriver   Wait = "driver"   // a module to load and its devices to be bound
	WaitEvent    Wait = "event"    // a QMP event such as DEVICE_DELETED
	WaitPing     Wait = "ping"     // one echo reply; the -W of a ping
	WaitTransfer Wait = "transfer" // 16 MiB from end to end
	WaitShutdown Wait = "shutdown" // a guest to power off by itself
	WaitStop     Wait = "stop"     // QEMU to end after quit, before it is killed
	WaitOops     Wait = "oops"     // the rest of a crash report, after its first line
)

// scaling says how a kind of waiting grows with slower emulation.
type scaling struct {
	base   time.Duration // under KVM
	native bool          // runs outside the guest: grows with nesting only
}

// table is the one place where durations are written down. The bases are generous for KVM on a busy machine; Hello's
// follows from 3.5 s measured under TCG and a machine ten times slower than that one.
var table = map[Wait]scaling{
	WaitStart:    {base: 10 * time.Second, native: true},
	WaitTurn:     {base: time.Minute},
	WaitHello:    {base: 4 * time.Second},
	WaitMachine:  {base: 15 * time.Second},
	WaitFirmware: {base: 12 * time.Second},
	WaitAlive:    {base: 10 * time.Second},
	WaitAgent:    {base: 2 * time.Second},
	WaitHost:     {base: 10 * time.Second, native: true},
	WaitLink:     {base: time.Second},
	WaitDriver:   {base: 2 * time.Second},
	WaitEvent:    {base: time.Second},
	WaitPing:     {base: 500 * time.Millisecond},
	WaitTransfer: {base: 5 * time.Second},
	WaitShutdown: {base: 3 * time.Second},
	WaitStop:     {base: 5 * time.Second, native: true},
	WaitOops:     {base: 50 * time.Millisecond},
}

// Timeout is how long to wait at most: the kind's base, times 1 under KVM and 10 under TCG, times 10 for every emulated
// machine around this one. KVM in an emulated machine counts as TCG: every exit of its guest runs through the emulation of
// a whole world switch. An unknown kind is a programming error and panics.
func Timeout(w Wait, accel string, nesting int) time.Duration {
	s, ok := table[w]
	if !ok {
		panic("lab: no timeout for " + string(w))
	}
	d := s.base
	if (accel != AccelKVM || nesting > 0) && !s.native {
		d *= 10
	}
	for range nesting {
		d *= 10
	}
	return d
}
