package ctl

import (
	"bytes"
	"fmt"
	"io"
	"reflect"
	"strings"

	"picolab/hostctl/vale"
)

// help says what the counters count; their names are those of vale.Counters in JSON.
var help = map[string]string{
	"from_frames":   "Frames that came from the port.",
	"from_bytes":    "Bytes that came from the port.",
	"from_bad":      "Frames from the port dropped for their length or header.",
	"from_down":     "Frames from the port dropped while its link was down.",
	"from_filtered": "Frames from the port dropped because nobody else was concerned.",
	"from_flooded":  "Frames from the port that went to all others.",
	"to_frames":     "Frames that the port took.",
	"to_bytes":      "Bytes that the port took.",
	"to_full":       "Frames dropped because the port had no room.",
	"to_down":       "Frames dropped because the link was down.",
	"to_segments":   "Frames for the port that the switch made of longer ones.",
	"to_checksums":  "Frames for the port that the switch completed the checksum of.",
	"to_offload":    "Frames dropped because they could not be cut into segments.",
	"faults":        "Frames that injected faults changed the fate of.",
}

// WriteMetrics writes in Prometheus' text format.
func WriteMetrics(w io.Writer, all []Status) error {
	var b bytes.Buffer
	for i, name := range counterNames {
		head(&b, "vale_port_"+name+"_total", "counter", help[name])
		for _, s := range all {
			for _, p := range s.Ports {
				v := reflect.ValueOf(p.Counters).Field(i).Uint()
				fmt.Fprintf(&b, "vale_port_%s_total{switch=%s,port=%s} %d\n", name, label(s.Name), label(p.Name), v)
			}
		}
	}
	gauge(&b, all, "vale_port_up", "Whether the port's link is up.", func(p *vale.PortStats) int {
		if p.Up {
			return 1
		}
		return 0
	})
	gauge(&b, all, "vale_port_addresses", "Addresses learned behind the port.", func(p *vale.PortStats) int { return p.Addresses })
	for _, c := range []struct {
		name, help string
		value      func(*Status) uint64
	}{
		{"rounds", "Rounds over all ports.", func(s *Status) uint64 { return s.Rounds }},
		{"yields", "Times that the switch gave way to others.", func(s *Status) uint64 { return s.Yields }},
		{"sleeps", "Times that the switch went to sleep.", func(s *Status) uint64 { return s.Sleeps }},
	} {
		head(&b, "vale_"+c.name+"_total", "counter", c.help)
		for i := range all {
			fmt.Fprintf(&b, "vale_%s_total{switch=%s} %d\n", c.name, label(all[i].Name), c.value(&all[i]))
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

func head(b *bytes.Buffer, name, kind, help string) {
	fmt.Fprintf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

func gauge(b *bytes.Buffer, all []Status, name, help string, value func(*vale.PortStats) int) {
	head(b, name, "gauge", help)
	for _, s := range all {
		for i := range s.Ports {
			fmt.Fprintf(b, "%s{switch=%s,port=%s} %d\n", name, label(s.Name), label(s.Ports[i].Name), value(&s.Ports[i]))
		}
	}
}

// counterNames are the fields of vale.Counters, in order.
var counterNames = func() (names []string) {
	t := reflect.TypeFor[vale.Counters]()
	for i := range t.NumField() {
		names = append(names, t.Field(i).Tag.Get("json"))
	}
	return names
}()

// label quotes a label's value: backslash, quote and newline are all that the format escapes.
func label(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}
