package switchboard

import (
	"fmt"
	"os"
	"path/filepath"
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
// that of Open vSwitch with DPDK, which learns them too.
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

func benchTestpmd(b *testing.B, f flood) {
	testpmd.Prioritise(b)
	var ours, theirs, ovs float64
	for b.Loop() {
		ours += switchForwards(b, f)
		theirs += testpmdForwards(b, f)
		ovs += ovsForwards(b, f)
	}
	b.ReportMetric(ours/float64(b.N)/1e6, "Mpps")
	b.ReportMetric(theirs/float64(b.N)/1e6, "testpmd-Mpps")
	b.ReportMetric(ours/theirs, "ratio")
	if ovs > 0 {
		b.ReportMetric(ovs/float64(b.N)/1e6, "ovs-Mpps")
		b.ReportMetric(ours/ovs, "ovs-ratio")
	}
}

// rings are testpmd's arguments for rings on either side.
func (f flood) rings() []string {
	return []string{fmt.Sprintf("--txd=%d", f.size), fmt.Sprintf("--rxd=%d", f.size), fmt.Sprintf("--txq=%d", f.queues), fmt.Sprintf("--rxq=%d", f.queues)}
}

// rate has a testpmd send on both sockets, and returns what comes back.
func (f flood) rate(b *testing.B, dir string) float64 {
	var vdevs []string
	for i, name := range []string{"a", "b"} {
		vdevs = append(vdevs, virtioUsers(i, filepath.Join(dir, name), f.size, f.queues, f.packed))
	}
	p := testpmd.Start(b, testpmd.Config{CPU: 1, Drivers: []string{"virtio"}, VDevs: vdevs,
		Args: append(f.rings(), "--forward-mode=flowgen", fmt.Sprintf("--txpkts=%d", f.length))})
	defer p.Stop()
	p.Command("start")
	for end := time.Now().Add(ovsTime); p.Stats(0).Rx == 0 && time.Now().Before(end); { // some take their time to begin
	}
	return p.BestRate(0, 1)
}

func switchForwards(b *testing.B, f flood) float64 {
	dir := socketDir(b)
	s := guests(b, dir, 2, f.queues, vale.Options{CPU: 1})
	r := f.rate(b, dir)
	if err := s.Close(); err != nil {
		b.Error(err)
	}
	return r
}

func testpmdForwards(b *testing.B, f flood) float64 {
	dir := socketDir(b)
	var vdevs []string
	for i, name := range []string{"a", "b"} {
		vdevs = append(vdevs, fmt.Sprintf("net_vhost%d,iface=%s,queues=%d", i, filepath.Join(dir, name), f.queues))
	}
	vhost := testpmd.Start(b, testpmd.Config{CPU: 0, Drivers: []string{"vhost"}, VDevs: vdevs, Args: append(f.rings(), "--forward-mode=io")})
	defer vhost.Stop()
	vhost.Command("start")
	return f.rate(b, dir)
}

// ovsForwards is 0 where there is no Open vSwitch with DPDK.
func ovsForwards(b *testing.B, f flood) float64 {
	o := &ovs{b: b, dir: socketDir(b)}
	defer o.stop()
	if err := o.forward("a", "b"); err != nil {
		log, _ := os.ReadFile(o.at("vswitchd.log"))
		b.Logf("no Open vSwitch: %v\n%s", err, log)
		return 0
	}
	return f.rate(b, o.dir)
}
