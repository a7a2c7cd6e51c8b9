package lab

import (
	"encoding/json"
	"strings"
	"testing"

	"picolab/guestagent/client"
)

// checkGenerators has a guest's agent run generators that only a real kernel has or judges: module pktgen, a thread for each
// of two queues, and a packet socket. The switch counts what they say they sent, and nothing stays behind.
func checkGenerators(t *testing.T, l *Lab) {
	a := l.Guest("a").Agent()
	link, err := a.LinkByMAC(t.Context(), l.Guest("a").MAC(0), l.Timeout(WaitLink))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Modprobe(t.Context(), "pktgen"); err != nil {
		t.Fatal(err)
	}
	const each = 3000
	for generator, args := range map[string]string{
		"linux-pktgen": "-i " + link.GetName() + " -t 2 -n 1500 -s 60 -R 20000 -T 20 -d 10.9.9.9 -m 02:00:00:00:00:99",
		"l2open":       "-r " + link.GetName() + " l2send -n 3000 -l 60 -R 20000 -T 20 -D 02:00:00:00:00:99",
	} {
		before := fromPort(l, PortName("a", 0))
		reports := 0
		run, err := a.Load(t.Context(), client.LoadOptions{Generator: generator, Args: strings.Fields(args), OnProgress: func(json.RawMessage) { reports++ }})
		if err != nil {
			t.Fatal(err)
		}
		b, err := run.Wait()
		var sent struct{ Packets, Errors uint64 }
		if err == nil {
			err = json.Unmarshal(b, &sent)
		}
		if err != nil || sent.Packets != each || sent.Errors != 0 || reports == 0 {
			t.Errorf("%s: %v, %d reports, %s", generator, err, reports, b)
		}
		t.Logf("%s: %s", generator, b)
		if got := fromPort(l, PortName("a", 0)) - before; got < each || got > each+50 { // some of the guest's own
			t.Errorf("%s: %d frames came to the switch", generator, got)
		}
	}
	for _, file := range []string{"kpktgend_0", "kpktgend_1"} {
		text, err := a.ReadFile(t.Context(), "/proc/net/pktgen/"+file)
		if err != nil || strings.Contains(string(text), "@") {
			t.Errorf("%s: %v\n%s", file, err, text)
		}
	}
}

// fromPort is how many frames came from a port of the switch.
func fromPort(l *Lab, name string) uint64 {
	for _, p := range l.Link("lan").Switch().Stats().Ports {
		if p.Name == name {
			return p.FromFrames
		}
	}
	return 0
}
