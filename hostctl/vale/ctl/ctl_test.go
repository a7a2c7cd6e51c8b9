package ctl

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"picolab/hostctl/internal/leak"
	"picolab/hostctl/vale"
)

func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }

// fake is Switches that notes what it is told.
type fake struct {
	log []string
	err error
}

func (f *fake) note(format string, args ...any) error {
	f.log = append(f.log, fmt.Sprintf(format, args...))
	return f.err
}

func (f *fake) Attach(name, port string) error { return f.note("attach %s %s", name, port) }
func (f *fake) Detach(name string) error       { return f.note("detach %s", name) }

func (f *fake) Set(name string, s Settings) error {
	return f.note("set %s up=%v rate=%v faults=%+v", name, *s.Up, *s.Rate, *s.Faults)
}

func (f *fake) Status() []Status {
	p := vale.PortStats{Name: "tap0", Up: true, Addresses: 3, Counters: vale.Counters{FromFrames: 7, ToFrames: 5, ToFull: 2, ToDown: 1}}
	q := vale.PortStats{Name: `q"\`}
	return []Status{{Name: "vale0", Stats: vale.Stats{Ports: []vale.PortStats{p, q}, Rounds: 9}}}
}

// serve returns a fake and the path of its socket.
func serve(t *testing.T) (*fake, string) {
	t.Helper()
	f, path := &fake{}, filepath.Join(t.TempDir(), "ctl")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: Handler(f), ReadHeaderTimeout: time.Second}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close(); <-done })
	return f, path
}

func TestCommand(t *testing.T) {
	f, path := serve(t)
	for _, tc := range []struct{ args, out, log, err string }{
		{"-h vale0:tap0", "", "attach vale0:tap0 tap0", ""},
		{"-avale1:stream:/x", "", "attach vale1:stream:/x stream:/x", ""},
		{"-d vale0:tap0", "", "detach vale0:tap0", ""},
		{"-g vale0:tap0", "bridge:0 port:0 vale0:tap0 up rx:7 tx:5 drop:3\n", "", ""},
		{"", "bridge:0 port:0 vale0:tap0 up rx:7 tx:5 drop:3\nbridge:0 port:1 vale0:q\"\\ down rx:0 tx:0 drop:0\n", "", ""},
		{"-b -l", "vale0:tap0\nvale0:q\"\\\n", "", ""},
		{"-g vale0:none", "", "", "no such port"},
		{"-x", "", "", "unknown option -x"},
		{"-h", "", "", "needs an argument"},
		{"-h vale0:a -d vale0:b", "", "", "exclude"},
		{"word", "", "", "unexpected"},
	} {
		f.log = nil
		var out bytes.Buffer
		err := Main(t.Context(), &out, append([]string{"-s", path}, strings.Fields(tc.args)...))
		if (err == nil) != (tc.err == "") || (err != nil && !strings.Contains(err.Error(), tc.err)) {
			t.Errorf("%q: %v, want %q", tc.args, err, tc.err)
		}
		if out.String() != tc.out || strings.Join(f.log, ";") != tc.log {
			t.Errorf("%q: printed %q, did %q", tc.args, out.String(), f.log)
		}
	}
}

func TestClient(t *testing.T) {
	f, path := serve(t)
	c := Client{path}
	up, rate := false, uint64(1000)
	if err := c.Set(t.Context(), "vale0:1", Settings{Up: &up, Rate: &rate, Faults: &vale.Faults{Loss: 0.5}}); err != nil {
		t.Error(err)
	}
	if got := strings.Join(f.log, ";"); !strings.HasPrefix(got, "set vale0:1 up=false rate=1000 faults={Loss:0.5") {
		t.Error(got)
	}
	f.err = fmt.Errorf("detach port x: %w", vale.ErrUnknown)
	if err := c.Detach(t.Context(), "x"); err == nil || err.Error() != f.err.Error() {
		t.Error(err)
	}
	all, err := c.Status(t.Context())
	if err != nil || len(all) != 1 || all[0].Ports[0].FromFrames != 7 || all[0].Rounds != 9 {
		t.Errorf("%+v, %v", all, err)
	}
	if _, err := (Client{path + "x"}).Status(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if _, err := c.do(t.Context(), http.MethodPost, "/set", nil, []byte(`{"nonsense":1}`)); err == nil {
		t.Error("settings that do not exist")
	}
}

// TestMetrics checks the text by its grammar, by promtool where there is one, and some values.
func TestMetrics(t *testing.T) {
	var b bytes.Buffer
	if err := WriteMetrics(&b, (&fake{}).Status()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"# TYPE vale_port_from_frames_total counter\n", "vale_port_from_frames_total{switch=\"vale0\",port=\"tap0\"} 7\n",
		"vale_port_up{switch=\"vale0\",port=\"q\\\"\\\\\"} 0\n", "vale_rounds_total{switch=\"vale0\"} 9\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
	for _, name := range counterNames {
		if help[name] == "" {
			t.Errorf("%s has no help", name)
		}
	}
	if len(help) != len(counterNames) {
		t.Error("help for counters that do not exist")
	}
	if promtool, err := exec.LookPath("promtool"); err == nil {
		cmd := exec.CommandContext(t.Context(), promtool, "check", "metrics")
		cmd.Stdin = &b
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool: %v\n%s", err, out)
		}
	}
}
