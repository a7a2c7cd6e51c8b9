package netperf

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// output writes one result in the layout that the options choose.
type output struct {
	result    *Result
	config    *Config
	repeat    *Repeat
	unit      byte
	headers   bool
	verbosity int
	brand     string
	command   []string
	uuid      string
}

func (o *Options) output(r *Result) *output {
	return &output{
		result: r, config: &o.Config, repeat: &o.Repeat, unit: o.Unit, headers: o.Headers, verbosity: o.Verbosity,
		brand: o.Brand, command: o.command, uuid: uuid(),
	}
}

// uuid is a random one (RFC 9562, version 4): it names the test.
func uuid() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Write writes a result as the command line asks for.
func (o *Options) Write(w io.Writer, r *Result) error {
	var b strings.Builder
	out := o.output(r)
	switch {
	case o.JSON:
		return writeJSON(w, out)
	case o.Style == 0:
		out.confidence(&b)
		out.classic(&b)
	default:
		rows, err := selectRows(o.Selectors)
		if err != nil {
			return err
		}
		out.confidence(&b)
		out.omni(&b, o.Style, rows)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}

func writeJSON(w io.Writer, o *output) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	doc := struct {
		UUID    string   `json:"uuid"`
		Brand   string   `json:"brand,omitempty"`
		Command []string `json:"command"`
		Host    string   `json:"host"`
		*Result
	}{o.uuid, o.brand, o.command, o.config.Host, o.result}
	if err := enc.Encode(doc); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}

// omni writes the rows of selected values: 'k' KEY=VALUE lines, 'o' comma separated, 'O' in columns.
func (o *output) omni(b *strings.Builder, style rune, rows [][]string) {
	for i, row := range rows {
		switch style {
		case 'k':
			for _, key := range row {
				fmt.Fprintf(b, "%s=%s\n", key, o.value(key))
			}
		case 'o':
			o.commaSeparated(b, row)
		default:
			if i > 0 {
				b.WriteByte('\n')
			}
			o.columns(b, row)
		}
	}
}

func (o *output) commaSeparated(b *strings.Builder, row []string) {
	var heads, cells []string
	for _, key := range row {
		heads = append(heads, strings.Join(headingOf(key), " "))
		cells = append(cells, o.value(key))
	}
	if o.headers {
		fmt.Fprintln(b, strings.Join(heads, ","))
	}
	fmt.Fprintln(b, strings.Join(cells, ","))
}

func (o *output) columns(b *strings.Builder, row []string) {
	const headLines = 4
	var lines [headLines + 1]strings.Builder
	for _, key := range row {
		cells := append([]string{}, headingOf(key)...)
		for len(cells) < headLines {
			cells = append(cells, "")
		}
		value := o.value(key)
		width := len(value) + 1 // as the original has it
		for _, c := range cells {
			width = max(width, len(c))
		}
		cells = append(cells, value)
		for i := range lines {
			fmt.Fprintf(&lines[i], "%-*s ", width, cells[i])
		}
	}
	for i := range lines {
		if o.headers && strings.TrimSpace(lines[i].String()) != "" || i == headLines {
			fmt.Fprintln(b, lines[i].String())
		}
	}
}

// throughput is the result in the unit it is shown in.
func (o *output) throughput() float64 {
	if o.transactions() {
		return o.result.TransactionRate
	}
	return o.inUnit(o.result.Throughput)
}

// transactions says that the result is transactions a second: in a transaction test, unless a unit was asked for.
func (o *output) transactions() bool { return o.result.spec.Direction == RR && o.unit == 0 }

// units are what -f chooses from: capitals are powers of 1024 of bytes, others powers of 1000 of bits.
var units = map[byte]struct {
	name string
	bits float64
}{
	'G': {"GBytes", 8 << 30}, 'M': {"MBytes", 8 << 20}, 'K': {"KBytes", 8 << 10},
	'g': {"10^9bits", 1e9}, 'm': {"10^6bits", 1e6}, 'k': {"10^3bits", 1e3}, 0: {"10^6bits", 1e6},
}

func (o *output) inUnit(bits float64) float64 { return bits / units[o.unit].bits }

func (o *output) unitName() string { return units[o.unit].name }

func (o *output) throughputUnit() string {
	if o.transactions() {
		return "Trans/s"
	}
	return o.unitName() + "/s"
}

func (o *output) ipv6() bool { return strings.Contains(o.result.Remote.Address, ":") }
