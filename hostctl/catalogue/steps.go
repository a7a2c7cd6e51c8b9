package catalogue

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"picolab/guestagent/client"
	"picolab/hostctl/report"
)

// did records what the endpoint is about to do as a person would type it there. Nobody repeats a step by these words but a
// person: the agent makes the same calls by netlink and sockets.
func (n *Node) did(format string, args ...any) { n.t.step(n.name, fmt.Sprintf(format, args...)) }

// maxSteps bounds what a case that goes round leaves; the first ones tell what it does.
const maxSteps = 200

func (t *T) step(on, command string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.steps) > maxSteps {
		return
	}
	if len(t.steps) == maxSteps {
		on, command = "", "and so on"
	}
	t.steps = append(t.steps, report.Step{On: on, Command: command, Seconds: time.Since(t.began).Seconds()})
}

// Measured records something that was measured at a place, name and value by turns ("size", 64).
func (t *T) Measured(name, unit string, better report.Direction, value float64, at ...any) {
	place := map[string]string{}
	for i := 0; i+1 < len(at); i += 2 {
		place[fmt.Sprint(at[i])] = fmt.Sprint(at[i+1])
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	f := report.Figure{Name: name, Unit: unit, Better: better, At: place, Values: []float64{value}}
	for i := range t.figures {
		if old := &t.figures[i]; old.Name == name && old.Unit == unit && old.Where() == f.Where() {
			old.Values = append(old.Values, value)
			return
		}
	}
	t.figures = append(t.figures, f)
}

// MeasuredPing records the loss and the round trips of a ping.
func (t *T) MeasuredPing(s client.PingStats, at ...any) {
	t.Measured("loss", "%", report.LowerIsBetter, s.LossPercent(), at...)
	if s.Received > 0 {
		t.Measured("rtt-p50", "us", report.LowerIsBetter, micros(s.RTTP50), at...)
		t.Measured("rtt-p99", "us", report.LowerIsBetter, micros(s.RTTP99), at...)
	}
}

// seconds is a time span as sleep(1) takes it.
func seconds(d time.Duration) string { return fmt.Sprintf("%g", d.Seconds()) }

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

// pingCommand is ping(8) for options.
func pingCommand(o client.PingOptions) string {
	var b strings.Builder
	b.WriteString("ping")
	if o.Flood {
		b.WriteString(" -f")
	} else if o.Interval > 0 {
		fmt.Fprintf(&b, " -i %g", o.Interval.Seconds())
	}
	if o.Count > 0 {
		fmt.Fprintf(&b, " -c %d", o.Count)
	}
	if o.Duration > 0 {
		fmt.Fprintf(&b, " -w %g", o.Duration.Seconds())
	}
	if o.DontFragment {
		b.WriteString(" -M do")
	}
	if o.Link != "" {
		b.WriteString(" -I " + o.Link)
	}
	fmt.Fprintf(&b, " -s %d %s", o.Size, o.Target)
	return b.String()
}

// linkCommand is ip(8) for a change of a link.
func linkCommand(name string, ch client.LinkChange) string {
	words := []string{"ip link set " + name}
	onOff := map[bool]string{true: "on", false: "off"}
	if ch.MAC != nil {
		words = append(words, "address "+*ch.MAC)
	}
	if ch.MTU != nil {
		words = append(words, fmt.Sprintf("mtu %d", *ch.MTU))
	}
	if ch.Promisc != nil {
		words = append(words, "promisc "+onOff[*ch.Promisc])
	}
	if ch.Master != nil && *ch.Master == "" {
		words = append(words, "nomaster")
	} else if ch.Master != nil {
		words = append(words, "master "+*ch.Master)
	}
	if ch.Up != nil {
		words = append(words, map[bool]string{true: "up", false: "down"}[*ch.Up])
	}
	return strings.Join(words, " ")
}

// qmpCommand is what is written to QEMU's monitor.
func qmpCommand(cmd string, args any) string {
	m := map[string]any{"execute": cmd}
	if args != nil {
		m["arguments"] = args
	}
	b, err := json.Marshal(m) // the keys of maps are sorted
	if err != nil {
		return cmd
	}
	return string(b)
}
