package catalogue

import (
	"context"
	"fmt"
	"hash/fnv"
	"net/netip"
	"syscall"
	"time"

	"picolab/guestagent/client"
	"picolab/hostctl/lab"
	"picolab/hostctl/report"
)

// Errors of netlink that say that what is to be removed is not there.
const (
	errNoAddress = syscall.EADDRNOTAVAIL // RTM_DELADDR
	errNoProcess = syscall.ESRCH         // RTM_DELROUTE
)

// Ping sends ICMP echo requests from the endpoint.  Without a timeout the last
// replies get the table's wait for one.
func (n *Node) Ping(o client.PingOptions) client.PingStats {
	if o.Timeout == 0 {
		o.Timeout = n.t.Timeout(lab.WaitPing)
	}
	n.did("%s", pingCommand(o))
	spend := o.Timeout + n.t.Timeout(lab.WaitTransfer) + 2*(time.Duration(o.Count)*o.Interval+o.Duration)
	return ask(n, "ping "+o.Target.String(), lab.WaitAgent, spend, func(ctx context.Context) (client.PingStats, error) {
		return n.agent.PingHost(ctx, o)
	})
}

// AwaitReply pings an address until it answers once, or the table's time for a
// driver is over.  A card that starts anew holds what comes meanwhile; when it
// answers, what is left of a flood has gone through.
func (n *Node) AwaitReply(addr netip.Addr) bool {
	once := client.PingOptions{Target: addr, Size: 56, Count: 1, Interval: time.Millisecond, Timeout: n.t.Timeout(lab.WaitPing) / 10}
	return n.t.Poll(lab.WaitDriver, func() bool { return n.Ping(once).Received > 0 })
}

// Loss says what a ping came to, as ping(8) does.
func Loss(s client.PingStats) string {
	text := fmt.Sprintf("%.4g%% packet loss (%d of %d)", s.LossPercent(), s.Sent-s.Received, s.Sent)
	if s.Refused > 0 {
		text += fmt.Sprintf(", %d refused: %s", s.Refused, s.RefusedError)
	}
	if s.Corrupt > 0 {
		text += fmt.Sprintf(", %d corrupt", s.Corrupt)
	}
	return text
}

// NoLoss checks that a ping lost nothing.
func (t *T) NoLoss(name string, s client.PingStats) bool {
	return t.Check(name, "0% packet loss", Loss(s), s.Sent > 0 && s.LossPercent() == 0, rtt(s))
}

// AllLost checks that a ping had no answer at all.
func (t *T) AllLost(name string, s client.PingStats) bool {
	return t.Check(name, "100% packet loss", Loss(s), s.Sent > 0 && s.Received == 0, rtt(s))
}

// rtt is the evidence line of a ping: what a person looks at next.
func rtt(s client.PingStats) string {
	return fmt.Sprintf("rtt min/avg/p99/max %v/%v/%v/%v, one every %v",
		s.RTTMin, s.RTTAvg, s.RTTP99, s.RTTMax, s.AchievedInterval)
}

// Transfer sends a pseudo-random stream of bytes over TCP from one endpoint to
// another, where addr is, and checks that what arrived is what was sent.
func (t *T) Transfer(name string, from, to *Node, addr netip.Addr, bytes int64) {
	t.TransferTo(name, from, to, netip.AddrPortFrom(addr, 0), bytes)
}

// TransferTo is [T.Transfer] to a port; 0 is the kernel's choice.
func (t *T) TransferTo(name string, from, to *Node, at netip.AddrPort, bytes int64) {
	t.transfer(name, from, to, client.SourceOptions{Network: "tcp", Target: at, Bytes: bytes})
}

// TransferUDP is [T.Transfer] over UDP, at rate bytes a second, in datagrams of a
// size in bytes that carry number, length and checksum (package
// guestagent/load/transfer): UDP itself tells neither that something is missing
// nor that it was the end.  Nothing is sent again; what is lost fails the check.
func (t *T) TransferUDP(name string, from, to *Node, addr netip.Addr, bytes, rate int64, datagram int) {
	got := t.transfer(name, from, to, client.SourceOptions{Network: "udp", Target: netip.AddrPortFrom(addr, 0), Bytes: bytes, Rate: rate, Datagram: datagram})
	t.Measured("lost", "datagrams", report.LowerIsBetter, float64(got.Lost), "transfer", name)
	Equal(t, name+": datagrams lost", 0, got.Lost, fmt.Sprintf("%d arrived, %d twice, %d late, %d damaged",
		got.Datagrams, got.Duplicates, got.Reordered, got.Corrupt))
}

func (t *T) transfer(name string, from, to *Node, o client.SourceOptions) client.Transfer {
	o.Seed = streamSeed(name)
	flag, port := map[string]string{"udp": " -u"}[o.Network], "PORT"
	if o.Target.Port() != 0 {
		port = fmt.Sprint(o.Target.Port())
	}
	to.did("transfer receive%s %s", flag, port)
	from.did("transfer send%s -b %d -S %d %s:%s", flag, o.Bytes, o.Seed, o.Target.Addr(), port)
	spend := time.Duration(1+o.Bytes/transferUnit) * t.Timeout(lab.WaitTransfer)
	if o.Rate > 0 {
		spend += time.Duration(o.Bytes/o.Rate) * time.Second
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*spend)
	defer cancel()
	idle := t.Timeout(lab.WaitTransfer)
	sink := to.receive(ctx, client.SinkOptions{Network: o.Network, Port: int(o.Target.Port()), Idle: idle, Timeout: idle})
	o.Target, o.Timeout = netip.AddrPortFrom(o.Target.Addr(), sink.port), idle
	sent := ask(from, "send to "+o.Target.Addr().String(), lab.WaitAgent, spend, func(ctx context.Context) (client.Transfer, error) {
		return from.agent.Source(ctx, o)
	})
	got := ask(to, "receive", lab.WaitAgent, spend, sink.wait)
	want := fmt.Sprintf("%d bytes, SHA-256 %s", o.Bytes, sent.SHA256)
	t.Measured("throughput", "MB/s", report.HigherIsBetter, got.BitsPerSecond()/8e6, "transfer", name)
	t.Check(name, want, fmt.Sprintf("%d bytes, SHA-256 %s", got.Bytes, got.SHA256),
		got.Complete && got.Bytes == o.Bytes && got.SHA256 == sent.SHA256,
		fmt.Sprintf("%.1f MB/s, ended by %s", got.BitsPerSecond()/8e6, got.End))
	return got
}

// transferUnit is how much lab.WaitTransfer is for.
const transferUnit = 16 << 20

// streamSeed gives each transfer of a case bytes of its own, the same in every
// run.
func streamSeed(name string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(name))
	return h.Sum64()
}

// sink is a receiver that listens.
type sink struct {
	port uint16
	wait func(context.Context) (client.Transfer, error)
}

// receive opens a sink that lives as long as ctx.
func (n *Node) receive(ctx context.Context, o client.SinkOptions) sink {
	return ask(n, "open sink", lab.WaitAgent, 0, func(context.Context) (sink, error) {
		at, wait, err := n.agent.Receive(ctx, o)
		return sink{at.Port(), wait}, err
	})
}

// Together runs functions at the same time and returns when all have ended.
// When one ends the instance, the others are waited for first.
func (t *T) Together(fns ...func()) {
	done := make(chan any, len(fns))
	for _, fn := range fns {
		go func() {
			defer func() { done <- recover() }()
			fn()
		}()
	}
	var first any
	for range fns {
		if p := <-done; p != nil && first == nil {
			first = p
		}
	}
	if first != nil {
		panic(first)
	}
}

// Record captures what passes a link of the endpoint into an evidence file of
// the instance until the returned function is called; filter is as in package
// client.
func (n *Node) Record(link, filter, file string) (stop func() client.CaptureStats) {
	n.did("capture -i %s -w %s %s", link, file, filter)
	return n.record(client.CaptureOptions{Link: link, Filter: filter}, file)
}

// frameHead is how many bytes of a frame have all headers of a TCP segment.
const frameHead = 128

// RecordHeads is [Node.Record] of the first bytes of each frame, for fast traffic.
// It does not make the link promiscuous; neither does Record.
func (n *Node) RecordHeads(link, filter, file string) (stop func() client.CaptureStats) {
	n.did("capture -s %d -i %s -w %s %s", frameHead, link, file, filter)
	return n.record(client.CaptureOptions{Link: link, Filter: filter, Snaplen: frameHead}, file)
}

func (n *Node) record(o client.CaptureOptions, file string) (stop func() client.CaptureStats) {
	f := n.t.create(file)
	o.Writer = f
	end := ask(n, "capture on "+o.Link, lab.WaitAgent, 0, func(context.Context) (func(context.Context) (client.CaptureStats, error), error) {
		return n.agent.Record(n.t.Context(), o)
	})
	return func() client.CaptureStats {
		defer f.Close()
		return ask(n, "end capture on "+o.Link, lab.WaitAgent, 0, end)
	}
}

// PlainPing is the documents' ping without options: 56 bytes, with the case's interval and count.
func (t *T) PlainPing(target netip.Addr) client.PingOptions {
	return client.PingOptions{Target: target, Size: 56, Interval: t.Duration("interval"), Count: t.Int("count")}
}
