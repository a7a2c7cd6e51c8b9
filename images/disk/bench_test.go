package disk

import (
	"path/filepath"
	"testing"
	"time"

	"picolab/images/manifest"
)

// BenchmarkWrite writes the host's disk as `labimage disk` does, synced to the file system: at most 1 s is promised.
func BenchmarkWrite(b *testing.B) {
	_, host := images(b)
	for _, f := range []Format{Raw, QCOW2} {
		b.Run(string(f), func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "disk")
			for b.Loop() {
				res, err := Write(b.Context(), Options{Image: host, Loaders: host.Root(), Output: path, Format: f})
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(res.Used)
			}
		})
	}
}

// BenchmarkAppliance tells how large the host image is, everything compressed: at most 160 MB are promised.
func BenchmarkAppliance(b *testing.B) {
	_, host := images(b)
	var size int64
	for b.Loop() {
		size = 0
		for _, f := range host.Files {
			if f.Role != manifest.RoleSBOM {
				size += f.Size
			}
		}
	}
	b.ReportMetric(float64(size)/1e6, "MB")
	b.ReportMetric(float64(size)/160e6, "of-promised")
}

// prompt is the shell's on a console of the appliance.
const prompt = "root@picolab:~#"

// BenchmarkConsole boots the host's disk as a USB stick, with two emulated CPUs, from power on through firmware and boot
// menu, where someone presses Enter, to the console's first prompt: at most 15 s are promised.
func BenchmarkConsole(b *testing.B) {
	_, host := images(b)
	disk := writeDisk(b, host, host, GPT, Raw)
	for _, f := range []firmware{seabios, uefi} {
		b.Run(f.name, func(b *testing.B) {
			f.machine = append(f.machine[:len(f.machine):len(f.machine)], "-smp", "2")
			for b.Loop() {
				p := powerOn(b, host, f, memory, stick(disk, false)...)
				p.choose(0)
				p.until(bootTime, prompt, "rescue>", "Kernel panic")
				b.ReportMetric(time.Since(p.began).Seconds(), "s/console")
				p.stop()
			}
		})
	}
}
