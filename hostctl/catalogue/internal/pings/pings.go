// Package pings has the ping tests that both documents on network cards list:
// every size at every interval, one byte too many, and floods.  The cases'
// parameters are theirs; what a function wants of them its comment says.
package pings

import (
	"fmt"

	"picolab/guestagent/client"
	"picolab/hostctl/catalogue"
)

// The documents' sizes in bytes, and distances.
const (
	Sizes     = "0 1 48 64 512 1440 1500 1505 4096 4192 32767 65507"
	Intervals = "100ms 10ms 1ms 100us"
)

// plain is the size of what ping(8) sends when it is not told.
const plain = 56

// paced is the check of large requests that came faster than they were answered.
const paced = "large requests, each after the reply to the one before"

// Deviations are what a case with [Grid] lists.
func Deviations() []catalogue.Deviant {
	return []catalogue.Deviant{{
		Check: paced, Seed: "0% packet loss at the interval", Modern: "0% packet loss at the guest's pace",
		Reason: "an emulated guest may answer later than the next request comes, and its kernel lets two replies of 64 KiB wait for the " +
			"card and drops the others (icmp_init in Linux's net/ipv4/icmp.c). Under KVM nothing may be lost at the interval",
	}}
}

// largeEcho is the size in bytes from which on a slow guest loses echo replies.
const largeEcho = 16 << 10

// outpaced says that a ping's loss may be due to requests that came faster than an
// emulated guest answers, each of them large.
func outpaced(t *catalogue.T, s client.PingStats, size int) bool {
	return t.Emulated() && size >= largeEcho && s.Received > 0 && s.Received < s.Sent && s.RTTMax > s.AchievedInterval
}

// Grid pings guest "a" from the host with each of sizes at each of intervals,
// count times: nothing may be lost.
func Grid(t *catalogue.T) {
	for _, interval := range t.Durations("intervals") {
		for _, size := range t.Ints("sizes") {
			once(t, client.PingOptions{Target: t.Guest("a").Addr(0), Size: size, Interval: interval, Count: t.Int("count")})
		}
	}
}

// once is one ping of a grid.
func once(t *catalogue.T, o client.PingOptions) {
	host, interval := t.Host(), o.Interval
	stats, name := host.Ping(o), fmt.Sprintf("ping %d bytes every %v", o.Size, o.Interval)
	if outpaced(t, stats, o.Size) {
		o.Interval = 2 * stats.RTTMax
		again := host.Ping(o)
		if t.Deviate(paced, catalogue.Loss(again), again.Sent > 0 && again.LossPercent() == 0, name+": "+catalogue.Loss(stats)) {
			t.Degraded("%s: %s, none when each waits for the reply to the one before: an emulated guest has room for two large replies", name, catalogue.Loss(stats))
		}
	} else {
		t.NoLoss(name, stats)
	}
	t.MeasuredPing(stats, "size", o.Size, "interval", interval)
	if stats.Received == 0 {
		t.Fatalf("the guest does not answer at all: the rest is not tried")
	}
}

// Flood floods guest "a" with each of sizes as far as bound says, and pings it
// after each count times at interval: nothing may be lost then, and no kernel
// may have complained.
func Flood(t *catalogue.T, bound client.PingOptions) {
	host, guest := t.Host(), t.Guest("a").Addr(0)
	kernels := t.Kernels()
	for _, size := range t.Ints("sizes") {
		bound.Target, bound.Size, bound.Flood = guest, size, true
		flood := host.Ping(bound)
		t.Logf("flood of %d bytes: %d sent, %s", size, flood.Sent, catalogue.Loss(flood))
		t.NoLoss(fmt.Sprintf("ping after a flood of %d bytes", size), host.Ping(client.PingOptions{Target: guest, Size: plain,
			Interval: t.Duration("interval"), Count: t.Int("count")}))
	}
	kernels()
}
