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

// TestL2 sends from one endpoint to the other by l2open's commands, which report what they do; the receiver ends by itself.
func TestL2(t *testing.T) {
	p := newPair(t)
	warm(t, p)
	began, told := make(chan struct{}, 1), 0
	rx, err := p.b.Load(t.Context(), client.LoadOptions{Generator: "l2open", Args: strings.Fields("-r " + p.bLink + " l2recv -T 50"),
		OnProgress: func(json.RawMessage) {
			select {
			case began <- struct{}{}:
			default:
			}
		}})
	must(t, err)
	received := make(chan json.RawMessage, 1)
	go func() {
		b, err := rx.Wait()
		if err != nil {
			t.Error(err)
		}
		received <- b
	}()
	<-began
	tx, err := p.a.Load(t.Context(), client.LoadOptions{Generator: "l2open", Args: strings.Fields("-r " + p.aLink + " l2send -n 1000 -l 99 -R 4000 -T 50"),
		OnProgress: func(json.RawMessage) { told++ }})
	must(t, err)
	b, err := tx.Wait()
	must(t, err)
	var sent, got struct{ Packets, Bytes uint64 }
	if err := json.Unmarshal(b, &sent); err != nil || sent.Packets != 1000 || sent.Bytes != 99000 || told == 0 {
		t.Errorf("%v, %d reports, %s", err, told, b)
	}
	if err := json.Unmarshal(<-received, &got); err != nil || got.Packets < 1000 || got.Packets > 1020 { // some of others
		t.Errorf("%v, received %+v", err, got)
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
		"l2 what":   {client.LoadOptions{Generator: "l2open", Args: strings.Fields("-r lo true")}, wire.Code_INVALID},
		"l2 option": {client.LoadOptions{Generator: "l2open", Args: strings.Fields("-r lo l2send -Q")}, wire.Code_INVALID},
		"l2 link":   {client.LoadOptions{Generator: "l2open", Args: strings.Fields("-r nolink0 l2send -n 1")}, wire.Code_GUEST},
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
