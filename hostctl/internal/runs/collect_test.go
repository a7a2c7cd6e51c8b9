package runs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"picolab/hostctl/catalogue"
	"picolab/hostctl/internal/remote"
	"picolab/hostctl/report"
)

// fakeRelay is what a relay does in a test: it is told, and tells.
type fakeRelay func(ctx context.Context, o order, told <-chan struct{}, out *remote.Writer) error

// program makes a program of a fake relay.
func (f fakeRelay) program() program {
	return func(ctx context.Context, stdin io.Reader, stdout, _ io.Writer) error {
		dec := json.NewDecoder(stdin)
		var o order
		if err := dec.Decode(&o); err != nil {
			return err
		}
		told := make(chan struct{})
		go func() {
			defer close(told)
			_, _ = io.Copy(io.Discard, stdin)
		}()
		return f(ctx, o, told, remote.NewWriter(stdout))
	}
}

// brisk are limits for relays that answer at once, or never.
var brisk = limits{silence: time.Minute, grace: time.Minute}

func TestListen(t *testing.T) {
	var heard []string
	relay := fakeRelay(func(_ context.Context, o order, told <-chan struct{}, out *remote.Writer) error {
		if !o.Doctor {
			return errors.New("the order did not arrive")
		}
		return errors.Join(out.Send("a", 1), out.Send("b", nil), out.Send(kindEnd, end{}))
	})
	err := listen(t.Context(), relay.program(), order{Doctor: true}, brisk, func(m remote.Message) error {
		heard = append(heard, m.Kind)
		return nil
	})
	if err != nil || !slices.Equal(heard, []string{"a", "b"}) {
		t.Errorf("heard %v, %v", heard, err)
	}
}

// TestListenFails shows which error each bad end of a relay is.
func TestListenFails(t *testing.T) {
	broken := errors.New("cable cut")
	for name, tt := range map[string]struct {
		relay fakeRelay
		want  string
	}{
		"says why": {func(_ context.Context, _ order, _ <-chan struct{}, out *remote.Writer) error {
			return out.Send(kindEnd, end{Error: "no images"})
		}, "no images"},
		"ends without a word": {func(context.Context, order, <-chan struct{}, *remote.Writer) error { return nil }, errCut.Error()},
		"breaks":              {func(context.Context, order, <-chan struct{}, *remote.Writer) error { return broken }, errCut.Error() + ": cable cut"},
		"talks nonsense": {func(_ context.Context, _ order, _ <-chan struct{}, out *remote.Writer) error {
			return out.Send("", nil)
		}, "no kind"},
	} {
		t.Run(name, func(t *testing.T) {
			err := listen(t.Context(), tt.relay.program(), order{}, brisk, func(remote.Message) error { return nil })
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

// TestListenSilence shows that a relay that hangs is given up, and that signs of life are enough not to be.
func TestListenSilence(t *testing.T) {
	relay := fakeRelay(func(ctx context.Context, _ order, _ <-chan struct{}, out *remote.Writer) error {
		for range 3 {
			if err := out.Send(remote.KindAlive, nil); err != nil {
				return err
			}
		}
		<-ctx.Done()
		return ctx.Err()
	})
	n := 0
	err := listen(t.Context(), relay.program(), order{}, limits{silence: 50 * time.Millisecond, grace: time.Minute}, func(remote.Message) error {
		n++
		return nil
	})
	if !errors.Is(err, errSilent) || n != 3 {
		t.Errorf("%v after %d messages", err, n)
	}
}

// TestListenInterrupted shows both ends of an interrupted relay: it is told and its last words are taken, or it does not
// listen and is stopped.
func TestListenInterrupted(t *testing.T) {
	polite := fakeRelay(func(_ context.Context, _ order, told <-chan struct{}, out *remote.Writer) error {
		if err := out.Send("begun", nil); err != nil {
			return err
		}
		<-told
		return errors.Join(out.Send("last", nil), out.Send(kindEnd, end{}))
	})
	stubborn := fakeRelay(func(ctx context.Context, _ order, _ <-chan struct{}, out *remote.Writer) error {
		if err := out.Send("begun", nil); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	})
	for name, tt := range map[string]struct {
		relay fakeRelay
		grace time.Duration
		want  error
		heard string
	}{
		"polite":   {polite, time.Minute, nil, "begun last "},
		"stubborn": {stubborn, time.Millisecond, context.Canceled, "begun "},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		heard := ""
		err := listen(ctx, tt.relay.program(), order{}, limits{silence: time.Minute, grace: tt.grace}, func(m remote.Message) error {
			heard += m.Kind + " "
			cancel()
			return nil
		})
		if !errors.Is(err, tt.want) || heard != tt.heard {
			t.Errorf("%s: %v, heard %q", name, err, heard)
		}
	}
}

// TestHandlerEndsListening shows that a full disk here does not leave a relay running there.
func TestHandlerEndsListening(t *testing.T) {
	full := errors.New("disk full")
	relay := fakeRelay(func(ctx context.Context, _ order, _ <-chan struct{}, out *remote.Writer) error {
		for ctx.Err() == nil {
			if err := out.Send("x", nil); err != nil {
				return err
			}
		}
		return ctx.Err()
	})
	if err := listen(t.Context(), relay.program(), order{}, brisk, func(remote.Message) error { return full }); !errors.Is(err, full) {
		t.Errorf("error %v", err)
	}
}

// A scene is a collector in a folder of its own, with a plan of two instances.
func newScene(t *testing.T, kind string, boot int) (*collector, *bytes.Buffer) {
	t.Helper()
	dir := t.TempDir()
	plan, err := Options{Profile: catalogue.Quick, Selectors: []string{"t.tap", "t.netmap"}, cases: several,
		Axes: map[string][]string{"nic": {"virtio"}, "vhost": {"on"}}}.Plan()
	if err != nil {
		t.Fatal(err)
	}
	results, err := report.Append(resultsOf(dir))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	progress := catalogue.NewProgress(&out, 2, false, false)
	t.Cleanup(func() { results.Close(); progress.Close() })
	j := job{Kind: kind, Profile: catalogue.Quick, HostName: "here", Command: []string{"hostctl", "run"}, Planned: plan.IDs(), Why: []string{"because"}}
	return &collector{dir: dir, job: j, plan: plan, results: results, progress: progress, boot: boot}, &out
}

// TestMerge takes streams as they come from another host and shows the folder and the progress they become:
// testdata/merge/*.txtar hold the stream, then what it becomes.
func TestMerge(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join("testdata", "merge", "*.txtar"))
	if len(files) < 3 {
		t.Fatalf("only %v", files)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) { checkMerge(t, file) })
	}
}

func checkMerge(t *testing.T, file string) {
	t.Helper()
	a, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	boot := 1
	if strings.Contains(string(a.Comment), "a second boot") {
		boot = 2
	}
	c, out := newScene(t, VM, boot)
	if err := hear(bytes.NewReader(a.Files[0].Data), c.take); err != nil {
		fmt.Fprintf(out, "error: %v\n", err)
		if err := c.lost(err, 1); err != nil {
			fmt.Fprintf(out, "error: %v\n", err)
		}
	}
	got := &txtar.Archive{Comment: a.Comment, Files: append(a.Files[:1:1], txtar.File{Name: "progress", Data: out.Bytes()})}
	got.Files = append(got.Files, folderOf(t, c.dir)...)
	if *update {
		if err := os.WriteFile(file, txtar.Format(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want := txtar.Format(a); !bytes.Equal(txtar.Format(got), want) {
		t.Errorf("got\n%s\nwant\n%s", txtar.Format(got), want)
	}
}

// folderOf are the files of a run's folder, without times.
func folderOf(t *testing.T, dir string) []txtar.File {
	t.Helper()
	var files []txtar.File
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		files = append(files, txtar.File{Name: name, Data: timeless(data)})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// started is a time that this run put in, or the stream.
var started = regexp.MustCompile(`("started": ?)"[^"]*"`)

func timeless(data []byte) []byte { return started.ReplaceAll(data, []byte(`$1"TIME"`)) }
