package oops

import (
	"regexp"
	"strings"
)

const cutHere = "[ cut here ]"

// benign starts a report that is none, so that its call trace is not taken for one.
const benign Kind = "benign"

// format is one kind of headline. A line must contain the needle, which is cheap, before the expression is tried on
// the message, from its start unless it says otherwise.
type format struct {
	kind   Kind
	needle string
	re     *regexp.Regexp
	title  string // Expand template; "" takes the message, made comparable
}

func f(kind Kind, needle, re, title string) format {
	return format{kind, needle, regexp.MustCompile(re), title}
}

// formats are tried in this order, so a special case stands before the general one. Sources: syzkaller's
// pkg/report/linux.go for the prefixes; the kernel's own printk calls, 5.10 to 6.18, for the wording.
var formats = []format{
	f(Init, "Attempted to kill init", `^Kernel panic - not syncing: Attempted to kill init`, "Kernel panic: Attempted to kill init"),
	f(Init, "No working init", `^Kernel panic - not syncing: No working init found`, "Kernel panic: no working init found"),
	f(Init, "Unable to mount root", `^Kernel panic - not syncing: VFS: Unable to mount root fs`, "Kernel panic: unable to mount the root file system"),
	f(Init, "Requested init", `^Kernel panic - not syncing: Requested init (\S+) failed`, "Kernel panic: requested init $1 failed"),
	f(Panic, "Kernel panic", `^Kernel panic - not syncing: (.*)`, "Kernel panic: $1"),
	f(Panic, "PANIC: double fault", `^(?:traps: )?PANIC: double fault`, "PANIC: double fault"),
	f(Panic, "Triple fault", `^(?:.*: )?Triple fault`, "triple fault"),

	// Not ours to judge: faults of programs, tests of the kernel itself, traces somebody asked for.
	f(benign, "traps:", `^traps: `, ""),
	f(benign, "sysrq:", `^sysrq: Show `, ""),
	f(benign, "task:", `^task:.* state:`, ""), // a task dump, each with its trace
	f(benign, "NMI backtrace", `^NMI backtrace for cpu`, ""),
	f(benign, "lockdep is turned off", `^INFO: lockdep is turned off`, ""),
	f(benign, "NMI handler", `^INFO: NMI handler .* took too long to run`, ""),
	f(benign, "page fault in user", `^BUG: .* in userspace`, ""),

	f(KASAN, "BUG: KASAN", `^BUG: KASAN: (\S+) in (\w+)`, "KASAN: $1 in $2"),
	f(KASAN, "BUG: KFENCE", `^BUG: KFENCE: (.+?) in (\w+)`, "KFENCE: $1 in $2"),
	f(KASAN, "BUG: KMSAN", `^BUG: KMSAN: (\S+) in (\w+)`, "KMSAN: $1 in $2"),
	f(KASAN, "BUG: KCSAN", `^BUG: KCSAN: (.+?) in (\w+)`, "KCSAN: $1 in $2"),
	f(KASAN, "KASAN", `^KASAN: (maybe |probably )?(\S+) in range`, "KASAN: $2"),
	f(UBSAN, "UBSAN:", `^UBSAN: (\S+) in (\S+?):`, "UBSAN: $1 in $2"),

	f(Lockup, "soft lockup", `^(?:.*watchdog: )?BUG: soft lockup - CPU#\d+ stuck for \d+s! \[(.*):\d+\]`, "soft lockup in $1"),
	f(Lockup, "hard LOCKUP", `atchdog detected hard LOCKUP on cpu`, "hard lockup"),
	f(Lockup, "workqueue lockup", `^BUG: workqueue lockup`, "workqueue lockup"),
	f(RCUStall, "stall", `^(?:rcu: )?INFO: (rcu\w*) (?:self-detected stall|detected (?:expedited )?stalls?)`, "rcu stall ($1)"),
	f(HungTask, "blocked", `^INFO: task (.+):\d+ (?:<.*> )?(?:is )?blocked (?:on .* )?for more than \d+ seconds`, "task $1 hung"),
	f(HungTask, "kthread starved", `^(?:rcu: )?(rcu\w*) kthread starved`, "kthread $1 starved"),

	f(Lockdep, "locking dependency", `^WARNING: possible (circular|recursive) locking`, "possible deadlock ($1 locking)"),
	f(Lockdep, "recursive locking", `^WARNING: possible (circular|recursive) locking`, "possible deadlock ($1 locking)"),
	f(Lockdep, "lock", `^WARNING: (possible irq lock inversion|inconsistent lock state|held lock freed|nested lock was not taken|bad unlock balance|lock held when returning to user space|Nested lock)`, "lockdep: $1"),
	f(Lockdep, "lock", `^WARNING: (\S+-safe -> \S+-unsafe lock order)`, "lockdep: $1"),
	f(Lockdep, "Invalid wait context", `^\[ BUG: Invalid wait context \]`, "lockdep: invalid wait context"),
	f(Lockdep, "[ BUG:", `^\[ BUG: (.*?) \]`, "lockdep: $1"),
	f(Lockdep, "RCU usage", `^WARNING: suspicious RCU usage`, "suspicious RCU usage"),
	f(Lockdep, "non-static key", `^INFO: trying to register non-static key`, "lockdep: non-static key"),

	f(NetWatchdog, "NETDEV WATCHDOG", `NETDEV WATCHDOG: (?:(\S+) \((\S+)\)|CPU: \d+): transmit queue (\d+) timed out`, "transmit queue $3 timed out"),
	f(Refcount, "unregister_netdevice", `^unregister_netdevice: waiting for (\S+) to become free`, "unregister_netdevice: $1 stays in use"),
	f(Refcount, "refcount_t:", `^refcount_t: (.*)`, "refcount: $1"),
	f(Refcount, "corruption", `^(list_(?:add|del)(?: double add|_entry)? ?corruption)`, "$1"),
	f(OOM, "Out of memory", `^Out of memory(?: \(oom_kill_allocating_task\))?: Kill(?:ed)? process \d+ \((.*?)\)`, "out of memory: $1 killed"),
	f(OOM, "emory cgroup out of", `^Memory cgroup out of memory: Kill(?:ed)? process \d+ \((.*?)\)`, "cgroup out of memory: $1 killed"),
	f(OOM, "invoked oom-killer", `^(.*) invoked oom-killer`, "out of memory: $1 asked for it"),
	f(OOM, "page allocation failure", `^(.*): page allocation failure: order:(\d+)`, "page allocation failure, order $2"),
	f(OOM, "page allocation stalls", `^(.*): page allocation stalls`, "page allocation stalls"),

	f(BUG, "NULL pointer", `^BUG: (?:unable to handle )?kernel NULL pointer dereference`, "NULL pointer dereference"),
	f(BUG, "unable to handle", `^BUG: unable to handle (?:kernel paging request|page fault)`, "page fault in the kernel"),
	f(BUG, "kernel BUG at", `^kernel BUG at (\S+?):\d+!`, "kernel BUG at $1"),
	f(BUG, "sleeping function", `^BUG: sleeping function called from invalid context at (\S+?):\d+`, "sleeping function called at $1"),
	f(BUG, "scheduling while atomic", `^BUG: scheduling while atomic: (\S+?)/`, "scheduling while atomic: $1"),
	f(BUG, "Bad page state", `^BUG: Bad page (\w+)`, "bad page $1"),
	f(BUG, "in preemptible", `^BUG: using (\w+)\(\) in preemptible`, "$1 used in preemptible code"),
	f(BUG, "kmemleak:", `^kmemleak: \d+ new suspected memory leaks`, "memory leaks"),
	f(BUG, "BUG: ", `^BUG: (.*)`, ""),

	f(Fault, "general protection", `^(?:Oops: )?general protection(?: fault|\b)`, "general protection fault"),
	f(Fault, "[#", `^(?:Oops: )?(divide error|invalid opcode|double fault|stack segment|int3|alignment check|bounds|device not available|invalid TSS|segment not present)(?:: [0-9a-f]+)? ?.*\[#\d+\]`, "$1"),
	f(Fault, "Oops", `^(?:Internal error: )?Oops(?:: Oops)?(?:: [0-9a-f]+|:| - )`, "Oops"),
	f(Fault, "[Hardware Error]", `^(?:mce: )?\[Hardware Error\]: (?:Machine check|CPU \d+: Machine Check)`, "machine check"),
	f(Fault, "Unhandled fault", `^Unhandled fault`, "unhandled fault"),
	f(Fault, "unexpected", `^Unexpected kernel (\S+)`, "unexpected kernel $1"),

	f(Warning, "WARNING: CPU:", `^WARNING: CPU: \d+ PID: \d+ at (\S+?):\d+ ?(\w+)?`, "WARNING at $1 $2"),
	f(Warning, "WARNING:", `^WARNING: (\S+\.[ch]):\d+ at (\w+)`, "WARNING at $1 $2"),
	f(Warning, "ODEBUG:", `^ODEBUG: (\w+) `, "ODEBUG: $1"),

	f(Firmware, "picolab: fatal", `picolab: fatal: (.*)`, "agent: $1"),
	f(CallTrace, "Call", `^Call [Tt]race:`, "call trace"),
}

// match finds the first format for a message.
func match(msg string) (Kind, string, bool) {
	for i := range formats {
		f := &formats[i]
		if !strings.Contains(msg, f.needle) {
			continue
		}
		m := f.re.FindStringSubmatchIndex(msg)
		if m == nil {
			continue
		}
		if f.title == "" {
			return f.kind, stable(msg), true
		}
		return f.kind, stable(string(f.re.ExpandString(nil, f.title, msg, m))), true
	}
	return "", "", false
}

// volatile are the parts of a headline that differ between runs.
var volatile = []struct {
	re *regexp.Regexp
	by string
}{
	{regexp.MustCompile(`\+0x[0-9a-f]+/0x[0-9a-f]+`), ""},
	{regexp.MustCompile(`\b(0x)?[0-9a-f]{8,16}\b`), "ADDR"},
	{regexp.MustCompile(`\b0x[0-9a-f]+\b`), "ADDR"},
	{regexp.MustCompile(`\bCPU#?:? ?\d+\b`), "CPU"},
	{regexp.MustCompile(`\b(PID|pid):? ?\d+`), "PID"},
}

func stable(title string) string {
	for _, v := range volatile {
		title = v.re.ReplaceAllString(title, v.by)
	}
	return clip(title)
}

// ends says whether a line is the last of a report.
func ends(msg string) bool {
	return strings.HasPrefix(msg, "---[ end ")
}

// frame is a function in a call trace that is certain: no question mark.
var frame = regexp.MustCompile(`(?m)^.*?\]? +([A-Za-z_][\w.]*)\+0x[0-9a-f]+/0x[0-9a-f]+`)

// unwinders are on top of every trace.
var unwinders = regexp.MustCompile(`^(dump_stack|show_stack|__dump_stack|dump_stack_lvl|print_.*|sched_show_task)`)

// name completes the title of a call trace without a headline by the function it is about.
func name(f *Finding) {
	if f.Kind != CallTrace {
		return
	}
	for _, m := range frame.FindAllStringSubmatch(f.Text, -1) {
		if !unwinders.MatchString(m[1]) {
			f.Title = "call trace in " + m[1]
			return
		}
	}
}
