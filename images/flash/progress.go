package flash

import "time"

// Progress is how far it is.
type Progress struct {
	Stage       string // "write" or "verify"
	Done, Total int64  // bytes of the stage
	Rate        float64
	Left        time.Duration // of the stage, at the rate so far; 0 when not yet known
}

// often is the time between two calls of the progress function.
const often = 200 * time.Millisecond

// meter calls a progress function now and then.
type meter struct {
	tell        func(Progress)
	stage       string
	done, total int64
	began, last time.Time
}

func newMeter(tell func(Progress)) *meter {
	if tell == nil {
		tell = func(Progress) {}
	}
	return &meter{tell: tell}
}

func (m *meter) start(stage string, total int64) {
	m.stage, m.total, m.done, m.began = stage, total, 0, time.Now()
	m.report()
}

func (m *meter) add(n int64) {
	m.done += n
	if time.Since(m.last) >= often || m.done == m.total {
		m.report()
	}
}

func (m *meter) report() {
	m.last = time.Now()
	p := Progress{Stage: m.stage, Done: m.done, Total: m.total}
	if took := m.last.Sub(m.began).Seconds(); took > 0 && m.done > 0 {
		p.Rate = float64(m.done) / took
		p.Left = time.Duration(float64(m.total-m.done) / p.Rate * float64(time.Second))
	}
	m.tell(p)
}
