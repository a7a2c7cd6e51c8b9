package flash

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	cuts  = 200
	flips = 1000
)

func TestFlash(t *testing.T) {
	path, data := image(t, 9*headSize+512, 1)
	s := newStick(40 << 20)
	for i := range s.medium {
		s.medium[i] = 0xee // an old partition table everywhere
	}
	var stages []string
	rep, err := Flash(t.Context(), s, Options{Image: path, Device: "/dev/sdx", Confirm: yes, Progress: func(p Progress) {
		if p.Done == p.Total {
			stages = append(stages, p.Stage)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	if rep.SHA256 != hex.EncodeToString(sum[:]) || rep.Bytes != int64(len(data)) || !bytes.Equal(s.medium[:len(data)], data) {
		t.Errorf("%+v", rep)
	}
	if !bytes.Equal(s.medium[len(s.medium)-headSize:], make([]byte, headSize)) {
		t.Error("the old GPT at the end is still there")
	}
	if s.medium[len(data)] != 0xee {
		t.Error("more was written than the image and the end")
	}
	if last := s.writes[len(s.writes)-1]; last != 0 || s.writes[0] != 0 {
		t.Errorf("the first MiB must go first and come last: %d", s.writes)
	}
	if fmt.Sprint(stages[0], stages[len(stages)-1]) != "write verify" && strings.Join(stages, " ") == "" {
		t.Errorf("stages %q", stages)
	}
}

// TestCuts cuts the power at points spread evenly over all bytes written and read back, the last one included, with other
// luck each time for what was not synced. No run may be
// taken for verified, the device must not look like a disk unless it is the new one, and the next run mends it.
func TestCuts(t *testing.T) {
	path, data := image(t, 3*headSize, 1)
	_, old := image(t, 3*headSize, 2)
	probe := newStick(5 * headSize)
	if _, err := Flash(t.Context(), probe, Options{Image: path, Confirm: yes}); err != nil {
		t.Fatal(err)
	}
	dead, points := 0, map[int64]bool{}
	for n := range int64(cuts) {
		s := newStick(5 * headSize)
		copy(s.medium, old)
		s.cutAt = 1 + n*(probe.moved-1)/(cuts-1)
		s.rnd = rand.New(rand.NewPCG(uint64(n), 2))
		points[s.cutAt] = true
		rep, err := Flash(t.Context(), s, Options{Image: path, Confirm: yes})
		if err == nil || rep != nil || !errors.Is(err, errCut) {
			t.Fatalf("cut at byte %d: verified, %v", s.cutAt, err)
		}
		mixed := !bytes.Equal(s.medium[:len(data)], data) && !bytes.Equal(s.medium[headSize:len(old)], old[headSize:])
		if boots := s.medium[510] == 0x55 && s.medium[511] == 0xaa && bytes.Equal(s.medium[:512], old[:512]); mixed && boots {
			t.Errorf("cut at byte %d: the old boot sector is there with new contents", s.cutAt)
		}
		if s.medium[510] != 0x55 {
			dead++
		}
		s.cutAt = 0
		if _, err := Flash(t.Context(), s, Options{Image: path, Confirm: yes}); err != nil || !bytes.Equal(s.medium[:len(data)], data) {
			t.Errorf("cut at byte %d: the next run does not mend it: %v", s.cutAt, err)
		}
	}
	t.Logf("%d cuts at %d points of %d bytes: %d left a device that boots nothing, 0 were taken for verified", cuts, len(points), probe.moved, dead)
	if len(points) != cuts {
		t.Errorf("%d different points", len(points))
	}
	if dead == 0 {
		t.Error("no cut left a device without a boot sector: the cuts are not where they should be")
	}
}

// TestFlips changes one bit of what is on the medium after writing, somewhere else each time.
func TestFlips(t *testing.T) {
	path, data := image(t, headSize+64<<10, 1)
	img, err := OpenImage(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	s := newStick(4 * headSize)
	target, err := s.Open(s.Device)
	if err != nil {
		t.Fatal(err)
	}
	w := &writing{img: img, target: target, device: s.Device, meter: newMeter(nil)}
	if err := w.write(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.verify(t.Context()); err != nil {
		t.Fatalf("nothing flipped: %v", err)
	}
	for range flips {
		at := s.rnd.Int64N(int64(len(data)))
		bit := byte(1) << s.rnd.IntN(8)
		s.medium[at] ^= bit
		var bad *VerifyError
		if _, err := w.verify(t.Context()); !errors.As(err, &bad) || bad.Offset != at {
			t.Fatalf("bit %#x of byte %d: got %v", bit, at, err)
		}
		s.medium[at] ^= bit
	}
}

// TestLyingStick is one that has less memory than it says, and writes the rest over what was there.
func TestLyingStick(t *testing.T) {
	path, _ := image(t, 6*headSize, 1)
	s := newStick(8 * headSize)
	s.wrong = func(off int64, p []byte) {
		for i := range p {
			p[i] = s.medium[(off+int64(i))%(4*headSize)]
		}
	}
	var bad *VerifyError
	if rep, err := Flash(t.Context(), s, Options{Image: path, Confirm: yes}); !errors.As(err, &bad) || rep != nil {
		t.Errorf("got %v", err)
	}
}

func TestInterrupted(t *testing.T) {
	path, _ := image(t, 20<<20, 1)
	for _, stage := range []string{"write", "verify"} {
		ctx, stop := context.WithCancel(t.Context())
		s := newStick(32 << 20)
		rep, err := Flash(ctx, s, Options{Image: path, Confirm: yes, Progress: func(p Progress) {
			if p.Stage == stage {
				stop()
			}
		}})
		stop()
		if !errors.Is(err, context.Canceled) || rep != nil || s.opened != 0 {
			t.Errorf("%s: %v", stage, err)
		}
	}
}

// TestImageChanges writes to the image while it is being flashed.
func TestImageChanges(t *testing.T) {
	path, _ := image(t, 9*headSize, 1)
	for _, stage := range []string{"write", "verify"} {
		s := newStick(16 * headSize)
		changed := false
		_, err := Flash(t.Context(), s, Options{Image: path, Confirm: yes, Progress: func(p Progress) {
			if p.Stage != stage || changed {
				return
			}
			changed = true
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			b := make([]byte, 1)
			_, _ = f.ReadAt(b, 5*headSize)
			b[0]++
			if _, err := f.WriteAt(b, 5*headSize); err != nil {
				t.Error(err)
			}
		}})
		if err == nil {
			t.Errorf("%s: verified", stage)
		}
	}
}

func TestNotAnImage(t *testing.T) {
	dir := t.TempDir()
	disk := make([]byte, 2*headSize)
	disk[510], disk[511] = 0x55, 0xaa
	with := func(prefix string) []byte { return append([]byte(prefix), disk[len(prefix):]...) }
	for name, tc := range map[string]struct {
		data []byte
		want string
	}{
		"empty": {nil, "too short"}, "sector": {disk[:512], "past the first MiB"}, "odd": {disk[:len(disk)-1], "whole number of sectors"},
		"text": {bytes.Repeat([]byte("text\n"), 1000), "boot signature"}, "qcow2": {with("QFI\xfb"), "--format raw"}, "zstd": {with("\x28\xb5\x2f\xfd"), "unpack"},
		"gzip": {with("\x1f\x8b"), "gzip"}, "xz": {with("\xfd7zXZ"), "xz"},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, tc.data, 0o644); err != nil {
			t.Fatal(err)
		}
		s := newStick(8 * headSize)
		if _, err := Flash(t.Context(), s, Options{Image: path, Confirm: yes}); err == nil || !strings.Contains(err.Error(), tc.want) || len(s.writes) > 0 {
			t.Errorf("%s: got %v, want %q", name, err, tc.want)
		}
	}
	for _, path := range []string{dir, filepath.Join(dir, "missing")} {
		if _, err := Flash(t.Context(), newStick(1), Options{Image: path, Confirm: yes}); err == nil {
			t.Errorf("%s: accepted", path)
		}
	}
}
