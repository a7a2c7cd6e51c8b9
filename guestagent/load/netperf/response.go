package netperf

import "math"

// response is a server's answer to a request: what it made of it, and where it waits for data. Sizes are bytes.
type response struct {
	RecvBuffer, RecvSize int32
	SendBuffer, SendSize int32
	Flags                int32
	Length               int32
	DataPort             int32
}

func (r *response) message() *Message {
	m := new(Message)
	m.setHeader(kindOmniResponse, 0)
	m.setWords(0, r.RecvBuffer, r.RecvSize, 1, r.SendBuffer, r.SendSize, 1, r.Flags)
	m.setWords(8, r.Length, 0, 0, r.DataPort)
	m.setWords(16, -1, -1)
	return m
}

func parseResponse(m *Message) *response {
	return &response{
		RecvBuffer: m.word(0), RecvSize: m.word(1), SendBuffer: m.word(3), SendSize: m.word(4),
		Flags: m.word(6), Length: m.word(8), DataPort: m.word(11),
	}
}

// results is what a server measured.
type results struct {
	counts
	RecvBufferEnd, SendBufferEnd int32
	Elapsed                      float64 // seconds
	CPU                          Utilization
	Demand                       float64 // service demand; the client calculates its own
	Retransmits                  int32   // segments, -1 unknown
	Congestion                   string
}

const (
	resultsCongestion = 276 // byte offset, 16 bytes
	methodUnknown     = 0
	methodProcStat    = 8
)

func (r *results) message() *Message {
	m := new(Message)
	m.setHeader(kindOmniResults, 0)
	m.setWide(0, r.BytesReceived)
	m.setWords(2, count32(r.RecvCalls), r.RecvBufferEnd)
	m.setWide(4, r.BytesSent)
	m.setWords(6, count32(r.SendCalls), r.SendBufferEnd, count32(r.FailedSends), count32(r.Transactions))
	m.setFloat(10, r.Elapsed)
	r.CPU.put(m)
	m.setFloat(17, r.Demand)
	m.setWord(26, r.Retransmits)
	m.setText(resultsCongestion, congestionLen, r.Congestion)
	return m
}

func parseResults(m *Message) *results {
	r := &results{
		RecvBufferEnd: m.word(3), SendBufferEnd: m.word(7),
		Elapsed: finite(m.float(10)), Demand: finite(m.float(17)),
		Retransmits: m.word(26), Congestion: m.text(resultsCongestion, congestionLen),
	}
	r.BytesReceived, r.BytesSent = m.wide(0), m.wide(4)
	r.RecvCalls, r.SendCalls = uint64(uint32(m.word(2))), uint64(uint32(m.word(6)))
	r.FailedSends, r.Transactions = uint64(uint32(m.word(8))), uint64(uint32(m.word(9)))
	r.CPU.get(m)
	return r
}

// count32 is a count in a word, at its largest when it does not fit.
func count32(n uint64) int32 { return int32(uint32(min(n, math.MaxUint32))) }

// finite makes 0 of what is no number: the real netserver sends NaN for what it did not measure.
func finite(f float64) float64 {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	return f
}
