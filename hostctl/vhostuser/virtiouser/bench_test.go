package virtiouser_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"picolab/hostctl/vhostuser/virtiouser"
	"picolab/hostctl/vhostuser/vnet"
)

// BenchmarkWire is what a device costs that takes frames from one driver and puts them to another, all in one thread: the best
// of many short spans, without the drivers' time.
func BenchmarkWire(b *testing.B) {
	for _, packed := range []bool{false, true} {
		for _, length := range []int{64, 1514} {
			b.Run(fmt.Sprintf("%s/%d", map[bool]string{false: "split", true: "packed"}[packed], length), func(b *testing.B) {
				benchWire(b, virtiouser.Config{Packed: packed, Frame: length})
			})
		}
	}
}

func benchWire(b *testing.B, c virtiouser.Config) {
	const burst = 64
	var ports [2]*vnet.Port
	var pairs [2]*virtiouser.Pair
	for i := range ports {
		c.Path = socket(b)
		ports[i], _ = device(b, c.Path, 1, false)
		pairs[i] = open(b, c).Pairs()[0]
	}
	frames, room := make([][]byte, burst), wireRoom(burst)
	best := math.Inf(1)
	for b.Loop() {
		took, total := time.Duration(0), 0
		for range 64 {
			n, err := pairs[0].Reserve(frames)
			if err != nil {
				b.Fatal(err)
			}
			for i := range n {
				frames[i] = frames[i][:c.Frame]
			}
			pairs[0].Send(frames[:n])
			at := time.Now()
			k, _ := ports[0].Borrow(0, room)
			total += ports[1].Put(0, room[:k])
			ports[0].Return(0)
			took += time.Since(at)
			if _, err := pairs[1].Receive(frames); err != nil {
				b.Fatal(err)
			}
			pairs[1].Release()
		}
		if total != 64*burst {
			b.Fatalf("%d frames of %d", total, 64*burst)
		}
		best = min(best, float64(took)/float64(total))
	}
	b.ReportMetric(best, "ns/frame")
}

// wireRoom is room as a switch has it.
func wireRoom(n int) []vnet.Frame {
	const each = 64 * (1024 + 3)
	memory, out := make([]byte, n*each), make([]vnet.Frame, n)
	for i := range out {
		out[i].Data = memory[i*each:][:0:each]
	}
	return out
}
