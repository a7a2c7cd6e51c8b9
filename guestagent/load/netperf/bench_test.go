package netperf

import (
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// BenchmarkPairs measures the original on both sides and ours on both sides in turn, and reports the medians and the
// median of the ratios. Each test takes 1 s; every figure is from this machine's loopback.
func BenchmarkPairs(b *testing.B) {
	program(b, "netperf")
	dir := b.TempDir()
	if out, err := exec.Command("go", "build", "-o", dir, "picolab/cmd/netperf", "picolab/cmd/netserver").CombinedOutput(); err != nil {
		b.Fatalf("go build: %v\n%s", err, out)
	}
	theirs := os.Getenv("PICOLAB_NETPERF")
	// The folder changes from pair to pair: empty is PATH.
	for _, test := range []string{"TCP_STREAM", "TCP_RR", "UDP_STREAM -- -m 8", "TCP_CRR", "UDP_RR"} {
		b.Run(strings.ReplaceAll(test, " ", ""), func(b *testing.B) {
			original := realServer(b, "127.0.0.1")
			b.Setenv("PICOLAB_NETPERF", dir) // ours, as processes of their own like the original
			ours := realServer(b, "127.0.0.1")
			var other, own, ratios []float64
			for range b.N {
				b.Setenv("PICOLAB_NETPERF", theirs)
				t := figure(b, realClient(b, "127.0.0.1", original, command(test)...))
				b.Setenv("PICOLAB_NETPERF", dir)
				o := figure(b, realClient(b, "127.0.0.1", ours, command(test)...))
				other, own, ratios = append(other, t), append(own, o), append(ratios, o/t)
			}
			b.ReportMetric(median(other), "original")
			b.ReportMetric(median(own), "ours")
			b.ReportMetric(median(ratios), "ratio")
		})
	}
}

// command is a test of 1 s that prints one figure.
func command(test string) []string {
	return append([]string{"-l", "1", "-P", "0", "-v", "0", "-t"}, strings.Fields(test)...)
}

func figure(b *testing.B, text string) float64 {
	f, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil {
		b.Fatalf("figure: %v", err)
	}
	return f
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}
