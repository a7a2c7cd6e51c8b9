// Package pings has the ping tests that both documents on network cards list:
// every size at every interval, one byte too many, and floods.  The cases'
// parameters are theirs; what a function wants of them its comment says.
package pings

import (
	"fmt"
	"strings"
	"time"

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
		Reason: "an emulated guest may answer later than the next request comes. Its kernel lets two replies of 64 KiB wait for the " +
			"card and drops the others (icmp_init in Linux's net/ipv4/icmp.c); QEMU's rtl8139 has 64 receive descriptors and drops what " +
			"finds none (C+ mode has no flow control), and a request of 64 KiB takes 45. Under KVM nothing may be lost at the interval",
	}}
}

// largeEcho is the size in bytes from which on a slow guest loses echo replies.
const largeEcho = 16 << 10

// outpaced says that a ping's loss may be due to requests that came faster than an
// emulated guest answers, each of them large.
func outpaced(t *catalogue.T, s client.PingStats, size int) bool {
	return t.Emulated() && size >= largeEcho && s.Received > 0 && s.Received < s.Sent && s.RTTMax > s.AchievedInterval
}

// crowds says that an emulated guest's card drops the second of two requests of
// so many bytes when the guest was not scheduled in between, at whatever
// interval: then the loss at an interval is up to the moment.
func crowds(t *catalogue.T, size int) bool {
	const descriptors, fragment = 64, 1480
	return t.Emulated() && t.Guest("a").Card(0).Model == "rtl8139" && 2*(size/fragment+1) > descriptors
}

// Grid pings guest "a" from the host with each of sizes at each of intervals,
// count times: nothing may be lost.
func Grid(t *catalogue.T) {
	sizes := t.Ints("sizes")
	crowding := make(map[int][]string) // what was lost at which interval, by size
	for _, interval := range t.Durations("intervals") {
		for _, size := range sizes {
			stats := once(t, client.PingOptions{Target: t.Guest("a").Addr(0), Size: size, Interval: interval, Count: t.Int("count")})
			if crowds(t, size) {
				crowding[size] = append(crowding[size], fmt.Sprintf("%v: %s", interval, catalogue.Loss(stats)))
			}
		}
	}
	for _, size := range sizes {
		if seen := crowding[size]; len(seen) > 0 {
			atItsPace(t, client.PingOptions{Target: t.Guest("a").Addr(0), Size: size, Interval: patient, Count: t.Int("count")},
				fmt.Sprintf("ping %d bytes: the loss at an interval is up to the moment (every %s)", size, strings.Join(seen, "; every ")))
		}
	}
}

// patient is an interval that outlasts the pauses of a guest on a busy machine.
const patient = 500 * time.Millisecond

// once is one ping of a grid.
func once(t *catalogue.T, o client.PingOptions) client.PingStats {
	stats, name := t.Host().Ping(o), fmt.Sprintf("ping %d bytes every %v", o.Size, o.Interval)
	interval := o.Interval
	switch {
	case !outpaced(t, stats, o.Size):
		t.NoLoss(name, stats)
	case !crowds(t, o.Size): // those are pinged at the guest's pace anyway, see Grid
		o.Interval = max(patient, 2*stats.RTTMax)
		atItsPace(t, o, name+": "+catalogue.Loss(stats))
	}
	t.MeasuredPing(stats, "size", o.Size, "interval", interval)
	if stats.Received == 0 {
		t.Fatalf("the guest does not answer at all: the rest is not tried")
	}
	return stats
}

// atItsPace is the tolerance for what came faster than an emulated guest answers: nothing may be lost of requests that each
// wait for the reply to the one before.
func atItsPace(t *catalogue.T, o client.PingOptions, strict string) {
	stats := t.Host().Ping(o)
	if t.Deviate(paced, catalogue.Loss(stats), stats.Sent > 0 && stats.LossPercent() == 0, strict) {
		t.Degraded("%s; none when each waits for the reply to the one before: an emulated guest has room for two large packets at most", strict)
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
