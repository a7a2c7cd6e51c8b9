package images_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"picolab/images/assemble"
	"picolab/initramfs/bb"
	"picolab/recipes/fetch"
)

// realOptions prepares a build of an embedded recipe from the store that make has filled.
func realOptions(b *testing.B, recipe string) assemble.Options {
	b.Helper()
	built(b, recipe)
	store, err := fetch.Open("")
	if err != nil {
		b.Fatal(err)
	}
	scratch, err := filepath.Abs(os.Getenv("PICOLAB_IMAGES"))
	if err != nil {
		b.Fatal(err)
	}
	r, l, err := assemble.Prepare(b.Context(), store, assemble.Source{Recipe: recipe, RefreshStale: true, Scratch: scratch})
	if err != nil {
		b.Fatal(err)
	}
	module, err := bb.FindModule(".")
	if err != nil {
		b.Fatal(err)
	}
	return assemble.Options{Recipe: r, Lock: l, Store: store, Output: filepath.Join(b.TempDir(), recipe), ModuleDir: module}
}

func mustBuild(b *testing.B, opt assemble.Options) *assemble.Result {
	b.Helper()
	res, err := assemble.Image(b.Context(), opt)
	if err != nil {
		b.Fatal(err)
	}
	return res
}

// BenchmarkHostRoot builds the host image from a warm store with nothing unpacked and no busybox, beside dpkg-deb
// unpacking the same packages into a folder.
func BenchmarkHostRoot(b *testing.B) {
	opt := realOptions(b, "host")
	b.Run("labimage", func(b *testing.B) {
		for b.Loop() {
			opt.Derived, opt.Output = b.TempDir(), filepath.Join(b.TempDir(), "host")
			res := mustBuild(b, opt)
			b.ReportMetric(float64(res.Manifest.RootFS.Entries), "entries")
		}
	})
	b.Run("peer=dpkg-deb", func(b *testing.B) {
		if _, err := exec.LookPath("dpkg-deb"); err != nil {
			b.Skip("dpkg-deb(1) not installed")
		}
		for b.Loop() {
			root := b.TempDir()
			for _, p := range opt.Lock.Packages {
				f, err := opt.Store.Blob(p.SHA256)
				if err != nil {
					b.Fatal(err)
				}
				out, err := exec.CommandContext(b.Context(), "dpkg-deb", "-x", f.Name(), root).CombinedOutput()
				f.Close()
				if err != nil {
					b.Fatalf("%v: %s", err, out)
				}
			}
		}
	})
}

// BenchmarkAgentChange builds the guest image after a change of one file of the agent, beside `go build` of the agent
// alone after the same change.
func BenchmarkAgentChange(b *testing.B) {
	opt := realOptions(b, "guest")
	source := filepath.Join(b.TempDir(), "source")
	if err := os.CopyFS(source, os.DirFS(opt.ModuleDir)); err != nil {
		b.Fatal(err)
	}
	opt.ModuleDir = source
	mustBuild(b, opt)
	n := 0
	change := func(b *testing.B) {
		b.StopTimer()
		n++
		changeAgent(b, source, n)
		b.StartTimer()
	}
	b.Run("labimage", func(b *testing.B) {
		for b.Loop() {
			change(b)
			res := mustBuild(b, opt)
			if res.Fresh {
				b.Fatal("the change did not reach the image")
			}
			b.ReportMetric(float64(res.Manifest.BootSize())/1e6, "MB-boot")
		}
	})
	b.Run("peer=go-build", func(b *testing.B) {
		for b.Loop() {
			change(b)
			cmd := exec.CommandContext(b.Context(), "go", "build", "-o", filepath.Join(b.TempDir(), "agent"), "./cmd/guestagent")
			cmd.Dir = source
			if out, err := cmd.CombinedOutput(); err != nil {
				b.Fatalf("%v: %s", err, out)
			}
		}
	})
}

// changeAgent puts another number into the first line that the agent prints.
func changeAgent(b *testing.B, source string, n int) {
	b.Helper()
	const said = "agent ready"
	files, err := filepath.Glob(filepath.Join(source, "guestagent", "*", "*.go"))
	if err != nil {
		b.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			b.Fatal(err)
		}
		if i := bytes.Index(data, []byte(said)); i >= 0 && !strings.HasSuffix(file, "_test.go") {
			end := i + len(said)
			for data[end] >= '0' && data[end] <= '9' {
				end++
			}
			data = append(fmt.Appendf(bytes.Clone(data[:i]), "%s%d", said, n), data[end:]...)
			if err := os.WriteFile(file, data, 0o644); err != nil {
				b.Fatal(err)
			}
			return
		}
	}
	b.Fatalf("no source of the agent has %q", said)
}

// BenchmarkUpToDate is what a second make lab spends on an image.
func BenchmarkUpToDate(b *testing.B) {
	for _, recipe := range []string{"guest", "host"} {
		b.Run(recipe, func(b *testing.B) {
			opt := realOptions(b, recipe)
			mustBuild(b, opt)
			for b.Loop() {
				if res := mustBuild(b, opt); !res.Fresh {
					b.Fatal("built again")
				}
			}
		})
	}
}
