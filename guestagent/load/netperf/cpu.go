package netperf

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Utilization is the CPU use of a machine during a test, in percent of all its CPUs; all 0 when Method is "U".
type Utilization struct {
	Method   string  `json:"method"` // "S": /proc/stat; "U": not measured
	CPUs     int     `json:"cpus"`
	Total    float64 `json:"total_percent"` // -1 when not measured
	User     float64 `json:"user_percent"`
	System   float64 `json:"system_percent"`
	IOWait   float64 `json:"iowait_percent"`
	IRQ      float64 `json:"irq_percent"`
	SoftIRQ  float64 `json:"softirq_percent"`
	PeakCPU  int     `json:"peak_cpu"` // the busiest, -1 unknown
	PeakUtil float64 `json:"peak_percent"`
}

// unmeasured is the use of a machine whose CPUs were not looked at.
func unmeasured() Utilization { return Utilization{Method: "U", Total: -1, PeakCPU: -1, PeakUtil: -1} }

// measured says that the figures mean something.
func (u *Utilization) measured() bool { return u.Method != "U" && u.Total >= 0 }

func (u *Utilization) put(m *Message) {
	for i, v := range []float64{u.Total, u.User, u.System, u.IOWait, u.IRQ, u.SoftIRQ} {
		m.setFloat(11+i, v)
	}
	m.setWords(18, methodUnknown, int32(u.CPUs), int32(u.PeakCPU))
	if u.measured() {
		m.setWord(18, methodProcStat)
	}
	m.setFloat(21, u.PeakUtil)
}

func (u *Utilization) get(m *Message) {
	if m.word(18) == methodUnknown {
		*u = unmeasured()
		return
	}
	for i, p := range []*float64{&u.Total, &u.User, &u.System, &u.IOWait, &u.IRQ, &u.SoftIRQ} {
		*p = finite(m.float(11 + i))
	}
	u.Method, u.CPUs, u.PeakCPU, u.PeakUtil = "S", int(m.word(19)), int(m.word(20)), finite(m.float(21))
}

// ticks are the columns of a cpu line of /proc/stat, proc(5): user nice system idle iowait irq softirq steal.
type ticks [8]uint64

func (t ticks) total() (sum uint64) {
	for _, v := range t {
		sum += v
	}
	return sum
}

// percent is the share of columns in what passed since before. Guest time is part of user, as proc(5) says.
func (t ticks) percent(before ticks, columns ...int) float64 {
	all := float64(t.total()) - float64(before.total())
	if all <= 0 {
		return 0
	}
	var part float64
	for _, c := range columns {
		part += float64(t[c]) - float64(before[c])
	}
	return min(max(100*part/all, 0), 100)
}

// cpuSample is the state of /proc/stat, the sum of all CPUs first.
type cpuSample []ticks

// sampleCPU reads /proc/stat.
func sampleCPU() (cpuSample, error) {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return nil, fmt.Errorf("measure CPU use: %w", err)
	}
	return parseStat(string(data)), nil
}

func parseStat(text string) cpuSample {
	var s cpuSample
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 5 || !strings.HasPrefix(fields[0], "cpu") {
			continue
		}
		var t ticks
		for i := range min(len(t), len(fields)-1) {
			t[i], _ = strconv.ParseUint(fields[i+1], 10, 64)
		}
		s = append(s, t)
	}
	return s
}

// since is the use between two samples.
func (s cpuSample) since(before cpuSample) Utilization {
	u := unmeasured()
	if len(s) < 2 || len(before) != len(s) || s[0].total() <= before[0].total() {
		return u
	}
	now, then := s[0], before[0]
	u.Method, u.CPUs = "S", len(s)-1
	u.Total = 100 - now.percent(then, 3, 4)
	u.User, u.System = now.percent(then, 0, 1), now.percent(then, 2)
	u.IOWait, u.IRQ, u.SoftIRQ = now.percent(then, 4), now.percent(then, 5), now.percent(then, 6)
	for i := 1; i < len(s); i++ {
		if busy := 100 - s[i].percent(before[i], 3, 4); busy > u.PeakUtil {
			u.PeakCPU, u.PeakUtil = i-1, busy
		}
	}
	return u
}

// demand is the service demand: microseconds of CPU time per unit of work, -1 when not measured. rate is units a second.
func (u *Utilization) demand(rate float64) float64 {
	if !u.measured() || rate <= 0 {
		return -1
	}
	return u.Total / 100 * float64(u.CPUs) * 1e6 / rate
}
