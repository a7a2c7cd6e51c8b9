package ports_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"picolab/guestagent/load/pktgen"
	"picolab/guestagent/load/pktgen/ports"
	"picolab/guestagent/load/testpmd"
)

const (
	benchCPU    = 1                      // of every sender
	benchWindow = 400 * time.Millisecond // that each sends in a round
	benchRounds = 7
	benchPeer   = "02:00:00:00:00:99" // so that the host drops the frames at once
)

// BenchmarkVeth sends frames of 60 bytes into a cable from one CPU: ours by each kind of port, then DPDK's driver for the
// same sockets, in turn, and trafgen where there is one. The rate is that of the cable's own counter; the figures are
// medians, the ratio that of the rounds. The peers' frames have 64 bytes, the shortest that testpmd makes.
func BenchmarkVeth(b *testing.B) {
	for _, kind := range kinds {
		b.Run(kind, func(b *testing.B) {
			a, _ := pair(b)
			need(b, kind, a)
			peer := dpdk(b, kind)
			trafgen := newTrafgen(b)
			for range b.N {
				var ours, theirs, cpu, ratios, others []float64
				for range benchRounds {
					o, c := send(b, a, kind)
					p := peer()
					ours, theirs, cpu, ratios = append(ours, o), append(theirs, p), append(cpu, c), append(ratios, o/p)
					if trafgen != nil {
						others = append(others, o/trafgen())
					}
				}
				b.ReportMetric(median(ours)/1e6, "Mpps")
				b.ReportMetric(median(theirs)/1e6, "dpdk-Mpps")
				b.ReportMetric(median(ratios), "ratio-dpdk")
				b.ReportMetric(median(cpu), "cpu-ns/packet")
				if trafgen != nil {
					b.ReportMetric(median(others), "ratio-trafgen")
				}
			}
		})
	}
}

// send measures ours.
func send(b *testing.B, name, kind string) (rate, cpu float64) {
	b.Helper()
	o, err := pktgen.ParseOptions(strings.Fields(fmt.Sprintf("-f tx -a %d -D %s -i x", benchCPU, benchPeer)))
	if err != nil {
		b.Fatal(err)
	}
	p, err := ports.All().Open(b.Context(), kind+":"+name, pktgen.Use{Send: true, Size: o.Size})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	ctx, cancel := context.WithTimeout(b.Context(), benchWindow)
	defer cancel()
	r, err := pktgen.Run(ctx, p, o.Config, nil)
	if err != nil || r.Packets == 0 {
		b.Fatalf("%d packets, %v", r.Packets, err)
	}
	return float64(r.Packets) / r.Elapsed.Seconds(), float64(r.CPU) / float64(r.Packets)
}

// dpdk returns what measures testpmd on a cable of its own, with the driver for the same kind of socket.
func dpdk(b *testing.B, kind string) func() float64 {
	b.Helper()
	name, _ := pair(b)
	driver := map[string]string{"packet": "af_packet", "xdp": "af_xdp"}[kind]
	device := map[string]string{"packet": "net_af_packet0,iface=" + name + ",qdisc_bypass=1", "xdp": "net_af_xdp0,iface=" + name}[kind]
	b.Setenv("LIBXDP_OBJECT_PATH", filepath.Join(os.Getenv("PICOLAB_IMAGES"), "host/root/usr/lib/x86_64-linux-gnu/bpf"))
	p := testpmd.Start(b, testpmd.Config{CPU: benchCPU, Drivers: []string{"net_" + driver}, VDevs: []string{device},
		Args: []string{"--eth-peer=0," + benchPeer, "--forward-mode=txonly", "--txd=1024", "--rxd=1024"}})
	return func() float64 {
		p.Command("start")
		r := watch(b, name)
		p.Command("stop")
		return r
	}
}

// newTrafgen returns what measures netsniff-ng's trafgen with one process, nil without it.
func newTrafgen(b *testing.B) func() float64 {
	b.Helper()
	path, err := exec.LookPath("trafgen")
	if err != nil {
		b.Log("trafgen (netsniff-ng) is not installed: not compared")
		return nil
	}
	name, _ := pair(b)
	config := filepath.Join(b.TempDir(), "frame")
	// Our headers, so that the host does the same with it.
	frame := "{ 0x02, 0, 0, 0, 0, 0x99, 0x02, 0, 0, 0, 0, 1, 0x08, 0, 0x45, 0x10, 0, 0x2e, 0, 0, 0x40, 0, 0x40, 0x11, 0x26, 0xad, " +
		"10, 0, 0, 1, 10, 1, 0, 1, 4, 0xd2, 4, 0xd2, 0, 26, 0, 0, fill(0x41, 18) }\n"
	if err := os.WriteFile(config, []byte(frame), 0o600); err != nil {
		b.Fatal(err)
	}
	return func() float64 {
		cmd := exec.Command(path, "-o", name, "-i", config, "-P", "1", "-q", "-V")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		for start := time.Now(); counter(b, name, "tx_packets") == 0 && time.Since(start) < 10*time.Second; {
			time.Sleep(10 * time.Millisecond)
		}
		r := watch(b, name)
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		return r
	}
}

// watch returns how many frames a second a cable takes.
func watch(b *testing.B, name string) float64 {
	b.Helper()
	from, start := counter(b, name, "tx_packets"), time.Now()
	time.Sleep(benchWindow)
	return float64(counter(b, name, "tx_packets")-from) / time.Since(start).Seconds()
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

// BenchmarkPacing reports by how many percent the mean rate of a second is off.
func BenchmarkPacing(b *testing.B) {
	for _, rate := range []int{1000, 10000, 100000, 300000} {
		b.Run(fmt.Sprint(rate), func(b *testing.B) {
			a, _ := pair(b)
			need(b, "xdp", a)
			for range b.N {
				s := start(b, fmt.Sprintf("-f tx -R %d -n %d -D %s -i xdp:%s", rate, rate, benchPeer, a)).must()
				b.ReportMetric(100*max(s.PPS/float64(rate)-1, 1-s.PPS/float64(rate)), "%error")
				b.ReportMetric(s.CPUPerPacket, "cpu-ns/packet")
			}
		})
	}
}
