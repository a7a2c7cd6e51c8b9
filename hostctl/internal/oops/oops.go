// Package oops finds kernel crashes in the console of a guest while it is being written. It knows the headline prefixes
// that syzkaller's report package looks for in Linux logs (about thirty), with their suppressions, and gathers the text
// that follows a headline for a short grace time.
//
// Its subset: one title per finding, no stack unwinding and no deduplication. Lines are cut at 4 KiB.
package oops

import "time"

// Kind is the class of a finding.
type Kind string

// The classes, worst first. Later findings that follow from an earlier one (a panic after a BUG) are separate findings.
const (
	Panic       Kind = "panic"       // Kernel panic: the guest is gone
	KASAN       Kind = "kasan"       // KASAN, KFENCE, KMSAN, KCSAN: memory or data-race reports
	UBSAN       Kind = "ubsan"       // undefined behaviour
	BUG         Kind = "bug"         // BUG: kernel NULL pointer, bad page, scheduling while atomic, kernel BUG at
	Fault       Kind = "fault"       // general protection fault, divide error, invalid opcode, double fault, Oops
	HungTask    Kind = "hung-task"   // INFO: task blocked for more than N seconds
	RCUStall    Kind = "rcu-stall"   // rcu: INFO: rcu_sched detected stalls
	Lockup      Kind = "lockup"      // watchdog: BUG: soft lockup, hard LOCKUP
	Lockdep     Kind = "lockdep"     // possible deadlock, suspicious RCU usage, held lock freed
	Warning     Kind = "warning"     // WARNING: CPU: n PID: n at file:line
	NetWatchdog Kind = "netdev"      // NETDEV WATCHDOG: transmit queue timed out
	Refcount    Kind = "refcount"    // unregister_netdevice: waiting for dev, refcount_t
	OOM         Kind = "oom"         // Out of memory: Killed process
	CallTrace   Kind = "calltrace"   // a call trace with no headline we know
	Init        Kind = "init"        // no init found, Attempted to kill init, unable to mount root
	Firmware    Kind = "guest-error" // the agent's own "picolab: fatal" line
)

// Finding is one crash report.
type Finding struct {
	Kind  Kind
	Title string // the headline without time stamp, addresses and process ids: comparable between runs
	Line  string // the headline as written
	Text  string // headline and what followed within the grace time, at most 64 KiB
	Index int    // number of the headline's line in the log, from 1
}

// Fatal says that the guest cannot go on after this.
func (f Finding) Fatal() bool { return f.Kind == Panic || f.Kind == Init }

// Options of a Scanner.
type Options struct {
	Allow  []Allow       // headlines that are expected and not reported
	Grace  time.Duration // how long to gather text after a headline; 0 means DefaultGrace
	Notify func(Finding) // called once per finding, from a goroutine, when its text is complete; in order
}
