package verbs_test

import (
	"encoding/json"
	"strings"
	"testing"

	"picolab/guestagent/client"
	"picolab/guestagent/wire"
)

// TestPktGen sends from one endpoint to the other; both results and the links' counters agree.
func TestPktGen(t *testing.T) {
	p := newPair(t)
	ctx := t.Context()
	warm(t, p)
	before, err := p.b.LinkStats(ctx, p.bLink)
	must(t, err)
	var told int
	tx, err := p.a.Load(ctx, client.LoadOptions{Generator: "pkt-gen", Args: strings.Fields("-i packet:" + p.aLink + " -f tx -n 2000 -l 60 -w 0 -R 5000 -T 100"),
		OnProgress: func(json.RawMessage) { told++ }})
	must(t, err)
	b, err := tx.Wait()
	must(t, err)
	var sent struct{ Packets uint64 }
	if err := json.Unmarshal(b, &sent); err != nil || sent.Packets != 2000 || told == 0 {
		t.Errorf("%v, %d reports, %s", err, told, b)
	}
	after, err := p.b.LinkStats(ctx, p.bLink)
	must(t, err)
	if n := after["rx_packets"] - before["rx_packets"]; n < 2000 || n > 2020 { // some of others: IPv6 speaks without being asked
		t.Errorf("%d packets came", n)
	}
}

func TestLoadLinesErrors(t *testing.T) {
	c := local(t)
	for name, tt := range map[string]struct {
		o    client.LoadOptions
		code wire.Code
	}{
		"option":    {client.LoadOptions{Generator: "pkt-gen", Args: []string{"-Q"}}, wire.Code_INVALID},
		"help":      {client.LoadOptions{Generator: "pkt-gen", Args: []string{"--help"}}, wire.Code_INVALID},
		"no link":   {client.LoadOptions{Generator: "pkt-gen", Args: strings.Fields("-i packet:nolink0 -f tx -w 0")}, wire.Code_GUEST},
		"forwarder": {client.LoadOptions{Generator: "forwarder", Args: []string{"--no"}}, wire.Code_INVALID},
		"kernel":    {client.LoadOptions{Generator: "linux-pktgen", Args: []string{"--no"}}, wire.Code_INVALID},
	} {
		run, err := c.Load(t.Context(), tt.o)
		if err == nil {
			_, err = run.Wait()
		}
		if wire.CodeOf(err) != tt.code {
			t.Errorf("%s: %v (%v), want %v", name, err, wire.CodeOf(err), tt.code)
		}
	}
}
