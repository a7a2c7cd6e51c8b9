package vvsock

import (
	"encoding/binary"
	"io"
	"net"
	"slices"
	"testing"
	"time"
)

const (
	roundTrips = 10000
	bulkBytes  = 64 << 20
	benchLimit = time.Minute // go test has no time limit for benchmarks
)

// BenchmarkVsock compares, with one guest and in one run, our device with QEMU's virtio-serial: 10,000 round trips of 16
// bytes, and 64 MiB each way. Run it with -benchtime 1x.
func BenchmarkVsock(b *testing.B) {
	dir := b.TempDir()
	var extra []string
	for _, name := range []string{"echo", "bulk"} {
		extra = append(extra, "-chardev", "socket,id="+name+",server=on,wait=off,path="+dir+"/"+name,
			"-device", "virtserialport,chardev="+name+",name="+name)
	}
	v := bootVM(b, append([]string{"-device", "virtio-serial-pci"}, extra...)...)
	open := map[string]func(b *testing.B, service string) net.Conn{
		"vsock": func(b *testing.B, service string) net.Conn {
			return v.dial(b, map[string]uint32{"echo": 1, "bulk": 5}[service])
		},
		"serial": func(b *testing.B, service string) net.Conn {
			c, err := net.Dial("unix", dir+"/"+service)
			if err != nil {
				b.Fatal(err)
			}
			return c
		},
	}
	for _, kind := range []string{"vsock", "serial"} {
		b.Run("RoundTrip/"+kind, func(b *testing.B) {
			c := open[kind](b, "echo")
			defer c.Close()
			benchRoundTrips(b, c)
		})
		for name, bit := range map[string]uint64{"ToGuest": 0, "FromGuest": 1 << 63} {
			b.Run(name+"/"+kind, func(b *testing.B) {
				c := open[kind](b, "bulk")
				defer c.Close()
				benchBulk(b, c, bit)
			})
		}
	}
}

func benchRoundTrips(b *testing.B, c net.Conn) {
	_ = c.SetDeadline(time.Now().Add(benchLimit))
	var msg [16]byte
	samples := make([]time.Duration, 0, roundTrips)
	for b.Loop() {
		samples = samples[:0]
		for range roundTrips {
			start := time.Now()
			if _, err := c.Write(msg[:]); err != nil {
				b.Fatal(err)
			}
			if _, err := io.ReadFull(c, msg[:]); err != nil {
				b.Fatal(err)
			}
			samples = append(samples, time.Since(start))
		}
	}
	slices.Sort(samples)
	b.ReportMetric(float64(samples[roundTrips/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(samples[roundTrips*99/100].Microseconds()), "p99-us")
}

// benchBulk sends, or asks for, bulkBytes.
func benchBulk(b *testing.B, c net.Conn, bit uint64) {
	_ = c.SetDeadline(time.Now().Add(benchLimit))
	b.SetBytes(bulkBytes)
	buf := make([]byte, 256<<10)
	for b.Loop() {
		if err := binary.Write(c, binary.LittleEndian, bulkBytes|bit); err != nil {
			b.Fatal(err)
		}
		left, op := bulkBytes, c.Write
		if bit != 0 {
			op = c.Read
		}
		for left > 0 {
			n, err := op(buf[:min(left, len(buf))])
			if err != nil {
				b.Fatal(err)
			}
			left -= n
		}
		if bit == 0 {
			if _, err := io.ReadFull(c, buf[:1]); err != nil { // the guest has it all
				b.Fatal(err)
			}
		}
	}
}
