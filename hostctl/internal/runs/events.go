package runs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"picolab/hostctl/catalogue"
	"picolab/hostctl/report"
)

// What events tell of; see catalogue.Observer.
const (
	eventStart    = "start"
	eventBooting  = "booting"
	eventBootDone = "boot-done"
	eventDone     = "done"
)

// event is a call of a catalogue.Observer, one line of JSON.
type event struct {
	What     string              `json:"what"`
	Instance string              `json:"instance,omitempty"`
	Topology *catalogue.Topology `json:"topology,omitempty"`
	Seconds  float64             `json:"seconds,omitempty"`
	Error    string              `json:"error,omitempty"`
	Result   *report.Result      `json:"result,omitempty"`
}

// teller is the observer of a run whose progress is shown elsewhere. Nobody can act on a failed write: the run ends when
// its results cannot be written.
type teller struct{ enc *json.Encoder }

func newTeller(w io.Writer) teller { return teller{json.NewEncoder(w)} }

func (t teller) Start(in catalogue.Instance) {
	_ = t.enc.Encode(event{What: eventStart, Instance: in.ID()})
}

func (t teller) Booting(top catalogue.Topology) {
	_ = t.enc.Encode(event{What: eventBooting, Topology: &top})
}

func (t teller) BootDone(top catalogue.Topology, took time.Duration, err error) {
	e := event{What: eventBootDone, Topology: &top, Seconds: took.Seconds()}
	if err != nil {
		e.Error = err.Error()
	}
	_ = t.enc.Encode(e)
}

func (t teller) Done(r report.Result) {
	_ = t.enc.Encode(event{What: eventDone, Instance: r.Instance, Result: &r})
}

// listener takes what a teller writes, line by line, and gives each event to a function.
type listener struct {
	buf  bytes.Buffer
	hear func(event) error
}

func (l *listener) Write(p []byte) (int, error) {
	l.buf.Write(p)
	for {
		i := bytes.IndexByte(l.buf.Bytes(), '\n')
		if i < 0 {
			return len(p), nil
		}
		var e event
		if err := json.Unmarshal(l.buf.Next(i+1), &e); err != nil {
			return 0, fmt.Errorf("read event: %w", err)
		}
		if err := l.hear(e); err != nil {
			return 0, err
		}
	}
}
