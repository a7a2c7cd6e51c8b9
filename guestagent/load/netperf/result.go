package netperf

import "time"

// Result is one test's outcome, or the mean of several.
type Result struct {
	Test     string  `json:"test"`
	Elapsed  float64 `json:"elapsed_s"`
	Length   int     `json:"length"` // as asked for: seconds, or the negative of bytes or transactions
	Local    End     `json:"local"`
	Remote   End     `json:"remote"`
	Request  int     `json:"request_bytes,omitempty"`
	Response int     `json:"response_bytes,omitempty"`
	Burst    int     `json:"burst,omitempty"`
	Segment  int     `json:"mss_bytes"` // -1 unknown
	// Throughput is the result: bits a second, as received; TransactionRate that of a transaction test.
	Throughput      float64     `json:"bits_per_s"`
	TransactionRate float64     `json:"transactions_per_s,omitempty"`
	Transactions    uint64      `json:"transactions,omitempty"`
	Latency         *Latency    `json:"latency,omitempty"`
	Confidence      *Confidence `json:"confidence,omitempty"`

	spec Test
}

// End is one side of a result. Sizes are bytes.
type End struct {
	Address          string      `json:"address,omitempty"`
	SendBuffer       int         `json:"send_buffer"`
	RecvBuffer       int         `json:"recv_buffer"`
	SendBufferEnd    int         `json:"send_buffer_end"`
	RecvBufferEnd    int         `json:"recv_buffer_end"`
	SendSize         int         `json:"send_size"`
	RecvSize         int         `json:"recv_size"`
	BytesSent        uint64      `json:"bytes_sent"`
	BytesReceived    uint64      `json:"bytes_received"`
	SendCalls        uint64      `json:"send_calls"`
	RecvCalls        uint64      `json:"recv_calls"`
	FailedSends      uint64      `json:"failed_sends"`
	Retransmits      int         `json:"retransmits"` // segments, -1 unknown
	Congestion       string      `json:"congestion_control"`
	CPU              Utilization `json:"cpu"`
	Demand           float64     `json:"service_demand_us"` // CPU time per KiB or transaction, -1 unknown
	SendBufferWanted int         `json:"send_buffer_wanted"`
	RecvBufferWanted int         `json:"recv_buffer_wanted"`
}

// Latency is the time of transactions, or of send or receive calls in a stream test, in microseconds.
type Latency struct {
	Count     uint64  `json:"count"`
	Min       float64 `json:"min_us"`
	Mean      float64 `json:"mean_us"`
	Deviation float64 `json:"stddev_us"`
	P50       float64 `json:"p50_us"`
	P90       float64 `json:"p90_us"`
	P99       float64 `json:"p99_us"`
	P999      float64 `json:"p99.9_us"`
	Max       float64 `json:"max_us"`
}

func (l *latencies) summary() *Latency {
	if l == nil || l.Count() == 0 {
		return nil
	}
	us := func(d time.Duration) float64 { return float64(d) / 1e3 }
	return &Latency{
		Count: l.Count(), Min: us(l.Min()), Mean: us(l.Mean()), Deviation: us(l.deviation()),
		P50: us(l.Percentile(50)), P90: us(l.Percentile(90)), P99: us(l.Percentile(99)), P999: us(l.Percentile(99.9)), Max: us(l.Max()),
	}
}

// result puts both sides together.
func (r *run) result(far *results) *Result {
	near := r.moved
	out := &Result{
		Test: r.Test.Name, spec: r.Test, Length: r.Length, Elapsed: r.meter.elapsed().Seconds(),
		Local: r.localEnd(), Remote: r.remoteEnd(far), Segment: int(r.meter.segment),
		Transactions: near.Transactions, Latency: near.latency.summary(),
	}
	if r.Test.Direction == RR {
		out.Request, out.Response, out.Burst = r.Request, r.Response, r.Burst
		out.TransactionRate = float64(near.Transactions) / out.Elapsed
	}
	out.Throughput = 8 * float64(out.bytes()) / out.Elapsed
	out.Local.Demand = out.Local.CPU.demand(out.work(near.BytesSent + near.BytesReceived))
	out.Remote.Demand = out.Remote.CPU.demand(out.work(far.BytesSent + far.BytesReceived))
	return out
}

// bytes are those that arrived: at the server, here, or both ways.
func (r *Result) bytes() uint64 {
	switch r.spec.Direction {
	case Send:
		return r.Remote.BytesReceived
	case Receive:
		return r.Local.BytesReceived
	}
	return r.Local.BytesReceived + r.Local.BytesSent
}

// work is a side's rate in the unit of service demand: transactions or KiB a second.
func (r *Result) work(bytes uint64) float64 {
	if r.spec.Direction == RR {
		return r.TransactionRate
	}
	return float64(bytes) / 1024 / r.Elapsed
}

func (r *run) localEnd() End {
	m, c := &r.meter, &r.moved.counts
	e := End{
		Address: r.local.Addr().String(), SendBuffer: int(r.send), RecvBuffer: int(r.recv),
		SendBufferEnd: int(m.send), RecvBufferEnd: int(m.receive),
		SendBufferWanted: r.Local.SendBuffer, RecvBufferWanted: r.Local.RecvBuffer,
		Retransmits: int(m.retransmits), Congestion: m.congestion, CPU: m.use,
	}
	e.count(c)
	send, receive := r.sizes()
	e.direct(r.Test.Direction, send, receive)
	return e
}

func (r *run) remoteEnd(far *results) End {
	e := End{
		Address: r.peer.Addr().String(), SendBuffer: int(r.response.SendBuffer), RecvBuffer: int(r.response.RecvBuffer),
		SendBufferEnd: int(far.SendBufferEnd), RecvBufferEnd: int(far.RecvBufferEnd),
		SendBufferWanted: r.Remote.SendBuffer, RecvBufferWanted: r.Remote.RecvBuffer,
		Retransmits: int(far.Retransmits), Congestion: far.Congestion, CPU: far.CPU,
	}
	e.count(&far.counts)
	e.direct(r.Test.Direction.other(), int(r.response.SendSize), int(r.response.RecvSize))
	return e
}

func (e *End) count(c *counts) {
	e.BytesSent, e.BytesReceived, e.SendCalls, e.RecvCalls, e.FailedSends = c.BytesSent, c.BytesReceived, c.SendCalls, c.RecvCalls, c.FailedSends
}

// direct keeps the sizes of the calls that the direction has; transactions have their own.
func (e *End) direct(d Direction, send, receive int) {
	switch d {
	case Send:
		e.SendSize = send
	case Receive:
		e.RecvSize = receive
	}
}
