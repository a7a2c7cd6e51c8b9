package memif

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"picolab/guestagent/load/testpmd"
)

// cpuTime returns what the process has used: on a machine that others use, too, it says more than the time of day.
func cpuTime() time.Duration {
	var ru unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &ru)
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

// BenchmarkRing is the cost of a frame from one end of a ring to the other in one thread, copied at both, 32 at a time.
func BenchmarkRing(b *testing.B) {
	for _, size := range []int{256, 1024} {
		for _, n := range []int{64, 1514} {
			b.Run(fmt.Sprintf("%d/%d", n, size), func(b *testing.B) {
				server, client := pair(b, 1, size, 2048)
				out, in := room(32, 2048), room(32, 2048)
				for i := range out {
					out[i] = pattern(n, i)
				}
				b.ReportAllocs()
				start := cpuTime()
				for b.Loop() {
					client.Put(0, out)
					if k, _ := server.Take(0, in); k != 32 {
						b.Fatal(k)
					}
				}
				b.ReportMetric(float64(cpuTime()-start)/float64(b.N)/32, "cpu-ns/frame")
			})
		}
	}
}

// BenchmarkTestpmd receives what DPDK's driver on another CPU sends as fast as it can: we, then testpmd.
func BenchmarkTestpmd(b *testing.B) {
	for _, n := range []int{64, 1514} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var ours, theirs float64
			for b.Loop() {
				ours += oursReceives(b, n)
				theirs += testpmdReceives(b, n)
			}
			b.ReportMetric(ours/float64(b.N)/1e6, "Mpps")
			b.ReportMetric(theirs/float64(b.N)/1e6, "testpmd-Mpps")
			b.ReportMetric(ours/theirs, "ratio")
		})
	}
}

func benchPMD(b *testing.B, path, role, mode string, cpu, n int) *testpmd.Process {
	p := testpmd.Start(b, testpmd.Config{CPU: cpu, Drivers: []string{"memif"},
		VDevs: []string{fmt.Sprintf("net_memif0,rsize=10,bsize=2048,socket=%s,socket-abstract=no,role=%s", path, role)},
		Args:  []string{"--forward-mode=" + mode, fmt.Sprintf("--txpkts=%d", n)}})
	p.Command("start")
	return p
}

func oursReceives(b *testing.B, n int) float64 {
	path := socketPath(b)
	port, _ := start(b, Config{Role: Server, Path: path})
	var stop atomic.Bool
	var receiving sync.WaitGroup
	receiving.Go(func() {
		pin(0)
		for in := room(64, 2112); !stop.Load(); {
			_, _ = port.Take(0, in)
		}
	})
	p := benchPMD(b, path, "client", "txonly", 1, n)
	await(b, "the connection", func() bool { return port.Up(0) })
	best := 0.0
	for range 12 {
		before, start := port.Stats().FromFrames, time.Now()
		time.Sleep(120 * time.Millisecond)
		best = max(best, float64(port.Stats().FromFrames-before)/time.Since(start).Seconds())
	}
	stop.Store(true)
	receiving.Wait()
	p.Stop()
	return best
}

func testpmdReceives(b *testing.B, n int) float64 {
	path := socketPath(b)
	server := benchPMD(b, path, "server", "rxonly", 0, n)
	client := benchPMD(b, path, "client", "txonly", 1, n)
	best := server.BestRate(0)
	client.Stop()
	server.Stop()
	return best
}

// pin keeps the goroutine on a CPU, for as long as it lives.
func pin(cpu int) {
	runtime.LockOSThread() // and not unlocked: the thread ends with its affinity
	var set unix.CPUSet
	set.Set(cpu)
	_ = unix.SchedSetaffinity(0, &set)
}

// BenchmarkCross has one CPU send and another receive, as fast as they can.
func BenchmarkCross(b *testing.B) {
	for _, size := range []int{1024, 16384} {
		b.Run(fmt.Sprintf("64/%d", size), func(b *testing.B) {
			best := 0.0
			for b.Loop() {
				best = max(best, cross(b, size))
			}
			b.ReportMetric(best/1e6, "Mpps")
		})
	}
}

func cross(b *testing.B, size int) (best float64) {
	server, client := pair(b, 1, size, 2048)
	var stop atomic.Bool
	var working sync.WaitGroup
	working.Go(func() {
		pin(1)
		for out := sixtyFours(256); !stop.Load(); {
			client.Put(0, out)
		}
	})
	working.Go(func() {
		pin(0)
		for in := room(256, 2112); !stop.Load(); {
			_, _ = server.Take(0, in)
		}
	})
	for range 12 {
		before, start := server.Stats().FromFrames, time.Now()
		time.Sleep(60 * time.Millisecond)
		best = max(best, float64(server.Stats().FromFrames-before)/time.Since(start).Seconds())
	}
	stop.Store(true)
	working.Wait()
	return best
}

func sixtyFours(n int) [][]byte {
	out := make([][]byte, n)
	for i := range out {
		out[i] = pattern(64, i)
	}
	return out
}
