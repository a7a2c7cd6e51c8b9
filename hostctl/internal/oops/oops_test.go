package oops

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var update = flag.Bool("update", false, "rewrite the headers of the golden logs")

// golden is a console log whose header lines, "# kind: title", name the findings in it; "# none" where there are none.
type golden struct {
	name, header string
	log          []byte
}

func goldens(tb testing.TB) []golden {
	tb.Helper()
	files, err := filepath.Glob("testdata/*.log")
	if err != nil || len(files) < 60 {
		tb.Fatalf("%d golden logs, %v", len(files), err)
	}
	var all []golden
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		header, log := split(data)
		all = append(all, golden{filepath.Base(file), header, log})
	}
	return all
}

func split(data []byte) (header string, log []byte) {
	if bytes.HasPrefix(data, []byte("\n")) {
		return "", data[1:]
	}
	h, log, _ := bytes.Cut(data, []byte("\n\n"))
	return string(h) + "\n", log
}

func header(found []Finding) string {
	if len(found) == 0 {
		return "# none\n"
	}
	var b strings.Builder
	for _, f := range found {
		fmt.Fprintf(&b, "# %s: %s\n", f.Kind, f.Title)
	}
	return b.String()
}

func TestGolden(t *testing.T) {
	for _, g := range goldens(t) {
		t.Run(g.name, func(t *testing.T) {
			got := header(Scan(g.log))
			if *update {
				if err := os.WriteFile("testdata/"+g.name, append([]byte(got+"\n"), g.log...), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != g.header {
				t.Errorf("got\n%swant\n%s", got, g.header)
			}
			if want, _, _ := strings.Cut(g.name, "-"); want == "clean" && got != "# none\n" {
				t.Errorf("false alarm: %s", got)
			}
		})
	}
}

// A finding says where it is and carries its trace.
func TestTextAndIndex(t *testing.T) {
	for _, g := range goldens(t) {
		lines := strings.Split(string(g.log), "\n")
		for _, f := range Scan(g.log) {
			if got := strings.TrimRight(lines[f.Index-1], "\r"); got != f.Line {
				t.Errorf("%s: line %d is %q, not %q", g.name, f.Index, got, f.Line)
			}
			if !strings.Contains(f.Text, f.Line) || len(f.Text) > maxText+maxLine {
				t.Errorf("%s: text of %d bytes", g.name, len(f.Text))
			}
		}
	}
	data, err := os.ReadFile("testdata/bug-then-panic.log")
	if err != nil {
		t.Fatal(err)
	}
	_, log := split(data)
	found := Scan(log)
	for _, want := range []string{"RIP: 0010:virtnet_set_channels", "entry_SYSCALL_64_after_hwframe", "end trace"} {
		if !strings.Contains(found[0].Text, want) {
			t.Errorf("no %q in the text of the first finding", want)
		}
	}
	if found[0].Fatal() || !found[1].Fatal() {
		t.Error("a panic is fatal, a BUG is not")
	}
}

// The same log in any chunks gives the same findings.
func TestChunks(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, g := range goldens(t) {
		g.log = g.log[max(0, len(g.log)-16<<10):] // the end, where it happens
		want := Scan(g.log)
		for _, most := range []int{1, 2, 7, 80, 5000} {
			s := New(Options{Grace: time.Hour})
			for rest := g.log; len(rest) > 0; {
				n := min(len(rest), 1+rng.IntN(most))
				_, _ = s.Write(rest[:n])
				rest = rest[n:]
			}
			_ = s.Close()
			if got := s.Findings(); !reflect.DeepEqual(got, want) {
				t.Fatalf("%s in chunks of %d: %v, want %v", g.name, most, header(got), header(want))
			}
		}
	}
}

func TestAllow(t *testing.T) {
	data, err := os.ReadFile("testdata/panic-sysrq.log")
	if err != nil {
		t.Fatal(err)
	}
	_, log := split(data)
	if found := Scan(log, regexp.MustCompile(`sysrq triggered crash$`)); len(found) != 0 {
		t.Error(found)
	}
	if found := Scan(log, regexp.MustCompile(`something else`)); len(found) != 1 {
		t.Error(found)
	}
}

// recorder is a Notify with times.
type recorder struct {
	mu    sync.Mutex
	found []Finding
	at    []time.Time
}

func (r *recorder) notify(f Finding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.found, r.at = append(r.found, f), append(r.at, time.Now())
}

// The verdict comes a grace time after the first line, even when the guest says nothing more, not even a newline.
func TestNotifyInTime(t *testing.T) {
	for _, text := range []string{
		"[    1.000000] Kernel panic - not syncing: x\n[    1.000001] CPU: 0\n",
		"[    1.000000] Kernel panic - not syncing: x",
	} {
		synctest.Test(t, func(t *testing.T) {
			var r recorder
			s := New(Options{Notify: r.notify})
			start := time.Now()
			_, _ = s.Write([]byte("[    0.900000] fine\n" + text))
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if len(r.found) != 1 || r.found[0].Kind != Panic || r.at[0].Sub(start) > time.Second {
				t.Errorf("%q: %v after %v", text, r.found, r.at)
			}
			_ = s.Close()
			if len(r.found) != 1 {
				t.Error("told twice")
			}
		})
	}
}

// A headline of which half came before the timer ran is one finding, with the whole line.
func TestLineContinuedAfterTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Grace: 100 * time.Millisecond})
		_, _ = s.Write([]byte("[    1.000000] Kernel panic - not syncing: Fa"))
		time.Sleep(150 * time.Millisecond)
		_, _ = s.Write([]byte("tal exception\n[    1.000001] more\n"))
		time.Sleep(time.Second)
		_ = s.Close()
		found := s.Findings()
		if len(found) != 1 || found[0].Title != "Kernel panic: Fatal exception" || !strings.Contains(found[0].Text, "more") {
			t.Errorf("%+v", found)
		}
	})
}

// Two reports are told in order, each complete.
func TestNotifyOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		s := New(Options{Notify: r.notify})
		_, _ = s.Write([]byte("[    1.000000] BUG: Bad rss-counter state mm:1\n[    5.000000] Kernel panic - not syncing: y\n"))
		time.Sleep(5 * time.Second)
		_ = s.Close()
		if len(r.found) != 2 || r.found[0].Kind != BUG || r.found[1].Kind != Panic {
			t.Errorf("%+v", r.found)
		}
	})
}

func TestBounds(t *testing.T) {
	s := New(Options{Grace: time.Hour})
	long := strings.Repeat("x", 2*maxLine)
	for range maxFindings + 100 {
		_, _ = s.Write([]byte("Kernel panic - not syncing: " + long + "\n" + long + "\n"))
	}
	_ = s.Close()
	found := s.Findings()
	if len(found) != maxFindings {
		t.Errorf("%d findings", len(found))
	}
	if len(found[0].Line) > maxLine || len(found[0].Title) > 300 {
		t.Errorf("line of %d, title of %d bytes", len(found[0].Line), len(found[0].Title))
	}
	if _, err := s.Write([]byte("BUG: late\n")); err != nil || len(s.Findings()) != maxFindings {
		t.Error("write after close")
	}
}

func FuzzScanner(f *testing.F) {
	for _, g := range goldens(f) {
		f.Add(g.log[:min(len(g.log), 4096)], uint16(100))
	}
	f.Fuzz(func(t *testing.T, log []byte, cut uint16) {
		want := Scan(log)
		s := New(Options{Grace: time.Hour})
		n := min(int(cut), len(log))
		_, _ = s.Write(log[:n])
		_, _ = s.Write(log[n:])
		_ = s.Close()
		if got := s.Findings(); !reflect.DeepEqual(got, want) {
			t.Errorf("cut at %d: %+v, want %+v", n, got, want)
		}
	})
}

func BenchmarkScan(b *testing.B) {
	data, err := os.ReadFile("testdata/clean-q35-debian-12.log")
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		Scan(data)
	}
}
