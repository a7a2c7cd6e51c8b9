package catalogue

import (
	"net/netip"
	"testing"
	"time"

	"picolab/guestagent/client"
	"picolab/hostctl/report"
)

func TestCommands(t *testing.T) {
	up, down, mtu, mac, promisc, master, none := true, false, 9000, "02:00:00:00:00:01", true, "br0", ""
	at := netip.MustParseAddr("10.0.0.1")
	for want, got := range map[string]string{
		"ping -i 0.0001 -c 10 -s 64 10.0.0.1":                                 pingCommand(client.PingOptions{Target: at, Size: 64, Count: 10, Interval: 100 * time.Microsecond}),
		"ping -f -w 5 -s 0 10.0.0.1":                                          pingCommand(client.PingOptions{Target: at, Flood: true, Duration: 5 * time.Second}),
		"ping -c 1 -M do -I eth0 -s 8972 10.0.0.1":                            pingCommand(client.PingOptions{Target: at, Size: 8972, Count: 1, DontFragment: true, Link: "eth0"}),
		"ip link set eth0 up":                                                 linkCommand("eth0", client.LinkChange{Up: &up}),
		"ip link set eth0 address 02:00:00:00:00:01 mtu 9000 down":            linkCommand("eth0", client.LinkChange{Up: &down, MTU: &mtu, MAC: &mac}),
		"ip link set eth0 promisc on master br0":                              linkCommand("eth0", client.LinkChange{Promisc: &promisc, Master: &master}),
		"while true; do ip link set eth0 promisc on; sleep 0.01; done":        toggleCommand("eth0", 10*time.Millisecond, []client.LinkChange{{Promisc: &promisc}}),
		"while true; do ip link set eth0 mtu 9000; ip link set eth0 up; done": toggleCommand("eth0", 0, []client.LinkChange{{MTU: &mtu}, {Up: &up}}),
		"ip link set eth0 nomaster":                                           linkCommand("eth0", client.LinkChange{Master: &none}),
		`{"arguments":{"name":"n0","up":false},"execute":"set_link"}`:         qmpCommand("set_link", map[string]any{"up": false, "name": "n0"}),
		`{"execute":"query-status"}`:                                          qmpCommand("query-status", nil),
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestStepsAreBounded(t *testing.T) {
	c := &T{began: time.Now()}
	for range 10 * maxSteps {
		c.step("a", "true")
	}
	if n := len(c.steps); n != maxSteps+1 || c.steps[n-1].Command != "and so on" {
		t.Errorf("%d steps", n)
	}
}

// TestMeasured: what is measured again at a place is another value of the same figure.
func TestMeasured(t *testing.T) {
	c := &T{}
	for i, size := range []int{64, 1500, 64} {
		c.Measured("rtt", "us", report.LowerIsBetter, float64(i), "size", size)
	}
	if len(c.figures) != 2 || len(c.figures[0].Values) != 2 || c.figures[0].Where() != "size=64" {
		t.Errorf("%+v", c.figures)
	}
	c.MeasuredPing(client.PingStats{Sent: 2}, "size", 1)
	if f := c.figures[len(c.figures)-1]; len(c.figures) != 3 || f.Name != "loss" || f.Values[0] != 100 {
		t.Errorf("a ping without an answer: %+v", c.figures[2:])
	}
}
