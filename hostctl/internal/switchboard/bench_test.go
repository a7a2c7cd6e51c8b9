package switchboard

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"picolab/guestagent/load/testpmd"
	"picolab/hostctl/vale"
)

// flood is what a client sends: frames of a length on both its ports, on rings of a size, in both directions at once.
type flood struct {
	packed               bool
	size, length, queues int
}

// BenchmarkTestpmd is the rate of the whole switch between two ports on one CPU, for DPDK's virtio driver on another, which
// sends on both as fast as it can; then, in the same place, that of testpmd's own vhost driver, which looks at no address, and
// that of Open vSwitch with DPDK, which learns them too. A shared machine's speed changes from one second to the next, so
// switch and testpmd take turns: the ratio is the median of the turns', beside it the least and the greatest. Open vSwitch
// polls for as long as it lives; its turns come after.
func BenchmarkTestpmd(b *testing.B) {
	for _, packed := range []bool{false, true} {
		for _, queues := range []int{1, 2} {
			for _, size := range []int{256, 1024} {
				for _, length := range []int{64, 1514} {
					name := fmt.Sprintf("%s/%d/%d", map[bool]string{false: "split", true: "packed"}[packed], length, size)
					if queues > 1 {
						name += fmt.Sprintf("/queues=%d", queues)
					}
					b.Run(name, func(b *testing.B) { benchTestpmd(b, flood{packed, size, length, queues}) })
				}
			}
		}
	}
}

// turns is how often each has the CPU.
const turns = 5

func benchTestpmd(b *testing.B, f flood) {
	var ours, theirs, ovs, ratios []float64
	for b.Loop() {
		mine, peer := newSwitch(b, f), newTestpmd(b, f)
		for range turns {
			o, t := mine.turn(), peer.turn()
			ours, theirs, ratios = append(ours, o), append(theirs, t), append(ratios, o/t)
		}
		mine.stop()
		peer.stop()
		ovs = append(ovs, ovsForwards(b, f)...)
	}
	b.ReportMetric(median(ours)/1e6, "Mpps")
	b.ReportMetric(median(theirs)/1e6, "testpmd-Mpps")
	b.ReportMetric(median(ratios), "ratio")
	b.ReportMetric(slices.Min(ratios), "ratio-min")
	b.ReportMetric(slices.Max(ratios), "ratio-max")
	if len(ovs) > 0 {
		b.ReportMetric(median(ovs)/1e6, "ovs-Mpps")
		b.ReportMetric(median(ours)/median(ovs), "ovs-ratio")
	}
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// contender forwards what its client sends, while it has the CPU.
type contender struct {
	client *testpmd.Process
	vhost  *testpmd.Process // in which the other end polls; nil when it sleeps or polls for as long as it lives
	end    func()           // of the other end; nil: somebody else's
}

func (c contender) stop() {
	c.client.Stop()
	if c.end != nil {
		c.end()
	}
}

// turn has the client send, and returns what comes back.
func (c contender) turn() float64 {
	if c.vhost != nil {
		c.vhost.Command("start")
		defer c.vhost.Command("stop")
	}
	c.client.Command("start")
	defer c.client.Command("stop")
	for before, end := c.client.Stats(0).Rx, time.Now().Add(ovsTime); c.client.Stats(0).Rx == before && time.Now().Before(end); { // some take their time to begin
	}
	return c.client.BestRate(0, 1)
}

// rings are testpmd's arguments for rings on either side.
func (f flood) rings() []string {
	return []string{fmt.Sprintf("--txd=%d", f.size), fmt.Sprintf("--rxd=%d", f.size), fmt.Sprintf("--txq=%d", f.queues), fmt.Sprintf("--rxq=%d", f.queues)}
}

// client is a testpmd with both sockets.
func (f flood) client(b *testing.B, dir string) *testpmd.Process {
	var vdevs []string
	for i, name := range []string{"a", "b"} {
		vdevs = append(vdevs, virtioUsers(i, filepath.Join(dir, name), f.size, f.queues, f.packed))
	}
	return testpmd.Start(b, testpmd.Config{CPU: 1, Drivers: []string{"virtio"}, VDevs: vdevs,
		Args: append(f.rings(), "--forward-mode=flowgen", fmt.Sprintf("--txpkts=%d", f.length))})
}

func newSwitch(b *testing.B, f flood) contender {
	dir := socketDir(b)
	s := guests(b, dir, 2, f.queues, vale.Options{CPU: 1})
	return contender{client: f.client(b, dir), end: func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	}}
}

func newTestpmd(b *testing.B, f flood) contender {
	dir := socketDir(b)
	var vdevs []string
	for i, name := range []string{"a", "b"} {
		vdevs = append(vdevs, fmt.Sprintf("net_vhost%d,iface=%s,queues=%d", i, filepath.Join(dir, name), f.queues))
	}
	vhost := testpmd.Start(b, testpmd.Config{CPU: 0, Drivers: []string{"vhost"}, VDevs: vdevs, Args: append(f.rings(), "--forward-mode=io")})
	vhost.Command("start") // the virtio driver waits for the first answers
	c := contender{client: f.client(b, dir), vhost: vhost, end: vhost.Stop}
	vhost.Command("stop")
	return c
}

// ovsForwards is empty where there is no Open vSwitch with DPDK.
func ovsForwards(b *testing.B, f flood) (rates []float64) {
	o := &ovs{b: b, dir: socketDir(b)}
	defer o.stop()
	if err := o.forward("a", "b"); err != nil {
		log, _ := os.ReadFile(o.at("vswitchd.log"))
		b.Logf("no Open vSwitch: %v\n%s", err, log)
		return nil
	}
	c := contender{client: f.client(b, o.dir)}
	defer c.stop()
	for range turns {
		rates = append(rates, c.turn())
	}
	return rates
}
