package disk

import (
	"path/filepath"
	"testing"
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
