package netperf

import (
	"fmt"
	"strings"
)

// Banner is the line that a test begins with.
func (o *Options) Banner() string {
	c := &o.Config
	from, family := "0.0.0.0", "AF_INET"
	if c.Family == familyV6 || c.Family == 0 && strings.Contains(c.Host, ":") {
		from, family = "::0", "AF_INET6"
	}
	if c.Source != "" {
		from = c.Source
	}
	s := fmt.Sprintf("%s from %s (%s) port %d %s to %s () port %d %s :", c.Test.Title, from, from, c.Local.Port, family, c.Host, c.Remote.Port, family)
	if o.Repeat.Level != 0 {
		s += fmt.Sprintf(" +/-%5.3f%% @ %2d%% conf.  :", o.Repeat.Width/2, o.Repeat.Level)
	}
	if c.Local.NoDelay {
		s += " nodelay :"
	}
	s += " demo"
	if c.Local.CPU >= 0 || c.Remote.CPU >= 0 {
		s += " : cpu bind"
	}
	if c.Test.Direction == RR && !c.Test.Connects {
		s += fmt.Sprintf(" : first burst %d", c.Burst)
	}
	return s
}

// confidence warns when the wanted one was not reached.
func (o *output) confidence(b *strings.Builder) {
	c := o.result.Confidence
	if c == nil || c.Reached || c.Level == 0 {
		return
	}
	b.WriteString(`!!! WARNING
!!! Desired confidence was not achieved within the specified iterations.
!!! This implies that there was variability in the test environment that
!!! must be investigated before going further.
`)
	fmt.Fprintf(b, "!!! Confidence intervals: Throughput      : %4.3f%%\n", max(c.Throughput, 0))
	fmt.Fprintf(b, "!!!                       Local CPU util  : %4.3f%%\n", max(c.LocalCPU, 0))
	fmt.Fprintf(b, "!!!                       Remote CPU util : %4.3f%%\n\n", max(c.RemoteCPU, 0))
}

// classic is the layout that the tests of netperf 2.4 had, which netperf keeps for them.
func (o *output) classic(b *strings.Builder) {
	switch t := o.result.spec; {
	case o.verbosity == 0:
		o.bare(b)
	case t.Direction == RR:
		o.classicTransactions(b)
	case t.udp():
		o.classicDatagrams(b)
	default:
		o.classicStream(b)
	}
}

// bare is one figure: service demand when CPU use was measured, else the result.
func (o *output) bare(b *strings.Builder) {
	r := o.result
	switch {
	case o.config.Local.MeasureCPU && r.Local.CPU.measured():
		fmt.Fprintf(b, "%6.3f %s %s\n", r.Local.Demand, r.Local.CPU.Method, o.brand)
	case o.config.Remote.MeasureCPU && r.Remote.CPU.measured():
		fmt.Fprintf(b, "%6.3f %s %s\n", r.Remote.Demand, r.Remote.CPU.Method, o.brand)
	default:
		fmt.Fprintf(b, "%7.2f %s\n", o.throughput(), o.brand)
	}
}

// withCPU says that the layout has columns for CPU use.
func (o *output) withCPU() bool { return o.config.Local.MeasureCPU || o.config.Remote.MeasureCPU }

func (o *output) classicStream(b *strings.Builder) {
	// The receiving side's buffer comes first, whichever side that is.
	from, to, near, far := &o.result.Local, &o.result.Remote, "Send", "Recv"
	if o.result.spec.Direction == Receive {
		from, to, near, far = to, from, far, near
	}
	l, r := &o.result.Local, &o.result.Remote
	if o.headers && o.withCPU() {
		fmt.Fprintf(b, `Recv   Send    Send                          Utilization       Service Demand
Socket Socket  Message  Elapsed              %s     %s     %s    %s
Size   Size    Size     Time     Throughput  local    remote   local   remote
bytes  bytes   bytes    secs.    %-8.8s/s  %% %s      %% %s      us/KB   us/KB

`, near, far, near, far, o.unitName(), l.CPU.Method, r.CPU.Method)
	} else if o.headers {
		fmt.Fprintf(b, "Recv   Send    Send                          \nSocket Socket  Message  Elapsed              \n"+
			"Size   Size    Size     Time     Throughput  \nbytes  bytes   bytes    secs.    %s/sec  \n\n", o.unitName())
	}
	fmt.Fprintf(b, "%5d  %5d %6d    %-6.2f   ", to.RecvBuffer, from.SendBuffer, from.SendSize, o.result.Elapsed)
	if o.withCPU() {
		fmt.Fprintf(b, "  %7.2f   %-6.2f   %-6.2f   %-6.3f  %-6.3f %s\n", o.throughput(), l.CPU.Total, r.CPU.Total, l.Demand, r.Demand, o.brand)
	} else {
		fmt.Fprintf(b, "%7.2f   %s\n", o.throughput(), o.brand)
	}
	if o.verbosity > 1 {
		o.streamDetails(b, near, far)
	}
}

func (o *output) streamDetails(b *strings.Builder, near, far string) {
	l, r := &o.result.Local, &o.result.Remote
	fmt.Fprintf(b, "\nAlignment      Offset         Bytes    Bytes       %ss   Bytes    %ss\n"+
		"Local  Remote  Local  Remote  Xfered   Per                 Per\n"+
		"%s   %s    %s   %s             %s (avg)          %s (avg)\n", near, far, near, far, near, far, near, far)
	bytes, calls, others, otherCalls := l.BytesSent, l.SendCalls, r.BytesReceived, r.RecvCalls
	if o.result.spec.Direction == Receive {
		bytes, calls, others, otherCalls = l.BytesReceived, l.RecvCalls, r.BytesSent, r.SendCalls
	}
	fmt.Fprintf(b, "%5d   %5d  %5d   %5d %9d  %8s  %8d   %8s %6d\n", 8, 8, 0, 0, bytes, per(bytes, calls), calls, per(others, otherCalls), otherCalls)
	fmt.Fprintf(b, "\nMaximum\nSegment\nSize (bytes)\n%6d\n", o.result.Segment)
}

func (o *output) classicDatagrams(b *strings.Builder) {
	l, r := &o.result.Local, &o.result.Remote
	sent := o.inUnit(8 * float64(l.BytesSent) / o.result.Elapsed)
	if o.withCPU() {
		if o.headers {
			fmt.Fprintf(b, `Socket  Message  Elapsed      Messages                   CPU      Service
Size    Size     Time         Okay Errors   Throughput   Util     Demand
bytes   bytes    secs            #      #   %s/sec %% %s%s     us/KB

`, o.unitName(), l.CPU.Method, r.CPU.Method)
		}
		fmt.Fprintf(b, "%6d  %6d   %-6.2f   %8d %6d    %7.1f     %-6.2f   %-6.3f\n", l.SendBuffer, l.SendSize, o.result.Elapsed, l.SendCalls, l.FailedSends, sent, l.CPU.Total, l.Demand)
		fmt.Fprintf(b, "%6d           %-6.2f   %8d           %7.1f     %-6.2f   %-6.3f\n\n", r.RecvBuffer, o.result.Elapsed, r.RecvCalls, o.throughput(), r.CPU.Total, r.Demand)
		return
	}
	if o.headers {
		fmt.Fprintf(b, `Socket  Message  Elapsed      Messages                
Size    Size     Time         Okay Errors   Throughput
bytes   bytes    secs            #      #   %s/sec

`, o.unitName())
	}
	fmt.Fprintf(b, "%6d  %6d   %-6.2f   %8d %6d    %7.2f\n", l.SendBuffer, l.SendSize, o.result.Elapsed, l.SendCalls, l.FailedSends, sent)
	fmt.Fprintf(b, "%6d           %-6.2f   %8d           %7.2f\n\n", r.RecvBuffer, o.result.Elapsed, r.RecvCalls, o.throughput())
}

func (o *output) classicTransactions(b *strings.Builder) {
	l, r := &o.result.Local, &o.result.Remote
	if o.headers {
		b.WriteString(o.transactionHeader())
	}
	if o.withCPU() {
		fmt.Fprintf(b, "%-6d %-6d %-6d  %-6d %-6.2f  %-8.2f  %-6.2f %-6.2f %-6.3f  %-7.3f%s\n", l.SendBuffer, l.RecvBuffer,
			o.result.Request, o.result.Response, o.result.Elapsed, o.throughput(), l.CPU.Total, r.CPU.Total, l.Demand, r.Demand, o.brand)
	} else {
		fmt.Fprintf(b, "%-6d %-6d %-6d   %-6d  %-6.2f   %7.2f   %s\n", l.SendBuffer, l.RecvBuffer,
			o.result.Request, o.result.Response, o.result.Elapsed, o.throughput(), o.brand)
	}
	fmt.Fprintf(b, "%-6d %-6d\n", r.SendBuffer, r.RecvBuffer)
	if o.verbosity > 1 && !o.result.spec.Connects {
		o.transactionDetails(b)
	}
}

func (o *output) transactionHeader() string {
	l, r := &o.result.Local, &o.result.Remote
	if o.withCPU() {
		what, unit := "Trans.", "per sec "
		if !o.transactions() {
			what, unit = "Tput  ", fmt.Sprintf("%-8.8s", o.unitName())
		}
		return fmt.Sprintf(`Local /Remote
Socket Size   Request Resp.  Elapsed %s   CPU    CPU    S.dem   S.dem
Send   Recv   Size    Size   Time    Rate     local  remote local   remote
bytes  bytes  bytes   bytes  secs.   %s %% %s    %% %s    us/Tr   us/Tr

`, what, unit, l.CPU.Method, r.CPU.Method)
	}
	if !o.transactions() {
		return fmt.Sprintf("Local /Remote\nSocket Size   Request  Resp.   Elapsed  \nSend   Recv   Size     Size    Time     Throughput \n"+
			"bytes  Bytes  bytes    bytes   secs.    %s/sec   \n\n", o.unitName())
	}
	return "Local /Remote\nSocket Size   Request  Resp.   Elapsed  Trans.\nSend   Recv   Size     Size    Time     Rate         \n" +
		"bytes  Bytes  bytes    bytes   secs.    per sec   \n\n"
}

func (o *output) transactionDetails(b *strings.Builder) {
	r := o.result
	b.WriteString(`Alignment      Offset         RoundTrip  Trans    Throughput
Local  Remote  Local  Remote  Latency    Rate     ` + fmt.Sprintf("%-8.8s/s\n", o.unitName()) + `Send   Recv    Send   Recv    usec/Tran  per sec  Outbound   Inbound
`)
	out := o.inUnit(8 * float64(r.Local.BytesSent) / r.Elapsed)
	in := o.inUnit(8 * float64(r.Local.BytesReceived) / r.Elapsed)
	fmt.Fprintf(b, "%5d  %5d   %5d  %5d   %-6.3f   %-6.3f %-6.3f    %-6.3f\n", 8, 0, 0, 0, o.roundTrip(), r.TransactionRate, out, in)
}
