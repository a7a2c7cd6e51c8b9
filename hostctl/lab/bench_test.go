package lab

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"
)

// Figures are measured inside the sandbox by TestFigures, which prints them as "figure VALUE UNIT" lines, and reported here
// as Go benchmark metrics: one lab for all of them, since booting is the slow part.
var figureLine = regexp.MustCompile(`(?m)^\s*(?:\S+: )?figure (\S+) (\S+)$`)

// BenchmarkGuest reports hello-ms (QEMU's start to Hello, TCG, median of 3), RPC ping percentiles, and bulk MB/s.
func BenchmarkGuest(b *testing.B) {
	out := runInside(b, "-test.run=^TestFigures$ -test.v -test.timeout=10m -figures")
	for _, m := range figureLine.FindAllStringSubmatch(out, -1) {
		v, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(v, m[2])
	}
	b.ReportMetric(0, "ns/op") // has no meaning here
}

func TestFigures(t *testing.T) {
	if !inside || !*figures {
		t.Skip("runs inside the sandbox, started by BenchmarkGuest")
	}
	l := bring(t, one(NIC{Model: "virtio-net-pci", Backend: BackendUser}))
	v := l.Guest("a")
	boots := []time.Duration{v.BootTime()}
	for range 2 {
		if err := v.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := v.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		boots = append(boots, v.BootTime())
	}
	slices.Sort(boots)
	figure(float64(boots[1].Microseconds())/1e3, "hello-ms")
	if _, err := v.Agent().Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	measurePings(t, v)
	measureBulk(t, v)
}

func figure(value float64, unit string) { fmt.Printf("figure %.3f %s\n", value, unit) }

// measurePings makes 10,000 round trips of an empty request, one after another.
func measurePings(t *testing.T, v *VM) {
	const count = 10_000
	took := make([]time.Duration, count)
	for i := range took {
		began := time.Now()
		if err := v.Agent().Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		took[i] = time.Since(began)
	}
	slices.Sort(took)
	figure(float64(took[count/2].Nanoseconds())/1e3, "ping-p50-us")
	figure(float64(took[count*99/100].Nanoseconds())/1e3, "ping-p99-us")
}

// measureBulk copies 32 MiB into the guest and out again.
func measureBulk(t *testing.T, v *VM) {
	const size = 32 << 20
	data := make([]byte, size)
	random := rand.NewChaCha8([32]byte{1})
	random.Read(data)
	began := time.Now()
	if _, _, err := v.Agent().Put(t.Context(), "/tmp/bulk", 0o600, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	figure(size/1e6/time.Since(began).Seconds(), "put-MB/s")
	began = time.Now()
	if _, _, err := v.Agent().Get(t.Context(), "/tmp/bulk", io.Discard); err != nil {
		t.Fatal(err)
	}
	figure(size/1e6/time.Since(began).Seconds(), "get-MB/s")
}
