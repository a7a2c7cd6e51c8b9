package catalogue_test

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"picolab/hostctl/catalogue"
	"picolab/hostctl/report"
)

// written is a buffer that a ticker writes to as well.
type written struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *written) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

func (w *written) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

// progress writes a short run to a buffer.
func progress(terminal, color bool) string {
	var w written
	top := fixed("virtio")
	p := catalogue.NewProgress(&w, 2, terminal, color)
	p.Start(catalogue.Instance{Case: aCase("s.a", ok)})
	p.Booting(top)
	p.BootDone(top, 3*time.Second, nil)
	p.Done(report.Result{Instance: "s.a", Result: report.Pass, Seconds: 4, Boot: 3})
	p.Booting(top)
	p.BootDone(top, time.Second, errors.New("no QEMU"))
	p.Done(report.Result{Instance: "s.b", Result: report.Error, Reason: "no QEMU\nsecond line", Seconds: 1, Boot: 1})
	p.Close()
	return w.String()
}

func TestProgressPlain(t *testing.T) {
	var got []string
	for line := range strings.Lines(progress(false, false)) {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	want := "boot a(virtio) 3.0s|PASS s.a 1.0s|boot a(virtio) 1.0s: failed|ERROR s.b 0.0s no QEMU"
	if strings.Join(got, "|") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "|"), want)
	}
}

func TestProgressTerminal(t *testing.T) {
	got := progress(true, true)
	for _, want := range []string{"\r\x1b[K[1/2] s.a 0s", "\x1b[32mPASS", "\x1b[31mERROR"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %q", want, got)
		}
	}
	if !strings.HasSuffix(got, "\r\x1b[K") {
		t.Errorf("the progress line is left: %q", got[max(0, len(got)-40):])
	}
}
