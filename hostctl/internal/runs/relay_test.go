package runs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"picolab/hostctl/catalogue"
	"picolab/hostctl/internal/probe"
	"picolab/hostctl/internal/remote"
	"picolab/hostctl/report"
)

// obeyed gives a relay one order in this process and returns what it said.
func obeyed(t *testing.T, text string) (messages []remote.Message, last end, code int) {
	t.Helper()
	t.Setenv("PICOLAB_CACHE", t.TempDir())
	var out bytes.Buffer
	in, w := io.Pipe()
	go io.WriteString(w, text)
	code = relay(t.Context(), in, &out)
	w.Close()
	r := remote.NewReader(&out)
	for {
		m, err := r.Next()
		if errors.Is(err, io.EOF) {
			return messages, last, code
		}
		if err != nil {
			t.Fatal(err)
		}
		if m.Kind == kindEnd {
			if err := m.Decode(&last); err != nil {
				t.Fatal(err)
			}
		}
		messages = append(messages, m)
	}
}

// TestRelayAnswers shows that every order, however bad, is answered with an end.
func TestRelayAnswers(t *testing.T) {
	dir := t.TempDir()
	run, err := json.Marshal(order{Images: dir, Run: &job{Selectors: []string{"vnic.driver-info"}, Profile: catalogue.Quick}})
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		order, want string
		code        int
	}{
		"nonsense":  {"hello\n", "read order", report.ExitUsage},
		"no task":   {"{}\n", "no task", 0},
		"no images": {string(run) + "\n", "no host image", 0},
	} {
		t.Run(name, func(t *testing.T) {
			messages, last, code := obeyed(t, tt.order)
			if code != tt.code || !strings.Contains(last.Error, tt.want) || messages[len(messages)-1].Kind != kindEnd {
				t.Errorf("code %d, end %q, messages %v", code, last.Error, messages)
			}
		})
	}
}

func TestRelayDoctor(t *testing.T) {
	messages, last, _ := obeyed(t, `{"doctor":true,"images":"/nonexistent"}`+"\n")
	var answers []probe.Probe
	for _, m := range messages {
		if err := probes(&answers)(m); err != nil {
			t.Fatal(err)
		}
	}
	if last.Error != "" || len(answers) != 1 || answers[0].Name != probe.QEMU || answers[0].OK {
		t.Errorf("%q, %+v", last.Error, answers)
	}
}

// TestEvents shows that what a teller writes, cut anywhere, is heard as it was told.
func TestEvents(t *testing.T) {
	var told bytes.Buffer
	w := newTeller(&told)
	top := catalogue.OneGuest()
	w.Booting(top)
	w.BootDone(top, 1500*time.Millisecond, errors.New("no\nHello"))
	w.Start(catalogue.Instance{Case: &catalogue.Case{ID: "t.x"}})
	w.Done(report.Result{Case: "t.x", Instance: "t.x", Result: report.Pass})
	for _, size := range []int{1, 7, told.Len()} {
		var heard []event
		l := &listener{hear: func(e event) error { heard = append(heard, e); return nil }}
		for chunk := range slices.Chunk(told.Bytes(), size) {
			if _, err := l.Write(chunk); err != nil {
				t.Fatal(err)
			}
		}
		if len(heard) != 4 || heard[0].What != eventBooting || heard[1].Seconds != 1.5 || heard[1].Error != "no\nHello" ||
			heard[2].Instance != "t.x" || heard[3].Result.Result != report.Pass {
			t.Errorf("in chunks of %d: %+v", size, heard)
		}
	}
	if _, err := (&listener{}).Write([]byte("panic: x\n")); err == nil {
		t.Error("text was taken for an event")
	}
}

// TestRelaySends shows what leaves the other host and in which order: evidence before its result, each file once, the rest
// at the end; and that nothing stays there.
func TestRelaySends(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"cases/t.x/a.log", "cases/t.x/forgotten", "labs/001/a/argv.txt"} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(name), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := report.WriteJSON(filepath.Join(dir, report.RunFile), report.Run{Format: 1}); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	r := &relaying{out: remote.NewWriter(&out), dir: dir}
	done := event{What: eventDone, Result: &report.Result{Instance: "t.x", Result: report.Pass, Evidence: []string{"cases/t.x/a.log", "cases/t.x/none"}}}
	for _, err := range []error{r.hear(event{What: eventStart, Instance: "t.x"}), r.hear(done), r.hear(done), r.sendRest()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var said []string
	for stream := remote.NewReader(&out); ; {
		m, err := stream.Next()
		if err != nil {
			break
		}
		said = append(said, strings.TrimSuffix(m.Kind+" "+m.Path, " "))
	}
	want := []string{"run", "event", "file cases/t.x/a.log", "result", "result", "file cases/t.x/forgotten", "file labs/001/a/argv.txt"}
	if !slices.Equal(said, want) {
		t.Errorf("said %q, want %q", said, want)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*", "*", "*")); len(left) > 1 { // a folder
		t.Errorf("left %v", left)
	}
}

// TestRelayOfNobody shows that a relay whose listener has gone does not go on.
func TestRelayOfNobody(t *testing.T) {
	r := &relaying{out: remote.NewWriter(gone{})}
	ctx, cancel := context.WithCancel(t.Context())
	<-r.live(ctx, cancel)
	if ctx.Err() == nil {
		t.Error("the work was not ended")
	}
}

type gone struct{}

func (gone) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
