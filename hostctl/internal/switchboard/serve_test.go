package switchboard

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"picolab/hostctl/vale/ctl"
)

// serving runs Serve until the test ends, and returns what it prints.
func serving(t *testing.T, o ServeOptions) (lines *bufio.Scanner, stop func() error) {
	t.Helper()
	r, w := io.Pipe()
	o.JSON, o.Out, o.Logf = true, w, t.Logf
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		err := Serve(ctx, o)
		_ = w.CloseWithError(err)
		done <- err
	}()
	return bufio.NewScanner(r), func() error { cancel(); go io.Copy(io.Discard, r); return <-done }
}

func status(t *testing.T, lines *bufio.Scanner) []ctl.Status {
	t.Helper()
	var all []ctl.Status
	if !lines.Scan() {
		t.Fatalf("no state is printed: %v", lines.Err())
	}
	if err := json.Unmarshal(lines.Bytes(), &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestServe starts the daemon with two ports, adds one and takes one away, and ends it.
func TestServe(t *testing.T) {
	dir := t.TempDir()
	control := filepath.Join(dir, "ctl")
	lines, stop := serving(t, ServeOptions{Control: control,
		Ports: []string{"stream:" + dir + "/a", "valeX:lan=vhost-user:" + dir + "/b,queues=2"}})
	all := status(t, lines)
	if len(all) != 2 || all[0].Name != "vale0" || all[0].Ports[0].Name != "1" || all[1].Name != "valeX" || all[1].Ports[0].Name != "lan" {
		t.Errorf("%+v", all)
	}
	c := ctl.Client{Socket: control}
	up, rate := false, uint64(1e6)
	for what, err := range map[string]error{
		"attach":           c.Attach(t.Context(), "vale0:3", "stream:"+dir+"/c"),
		"detach":           c.Detach(t.Context(), "vale0:1"),
		"set":              c.Set(t.Context(), "vale0:3", ctl.Settings{Up: &up, Rate: &rate}),
		"status of itself": func() error { _, err := c.Status(t.Context()); return err }(),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, err := range map[string]error{
		"attach twice":      c.Attach(t.Context(), "vale0:3", "stream:"+dir+"/d"),
		"attach a bad one":  c.Attach(t.Context(), "vale0:4", "nonsense:x"),
		"attach a bad name": c.Attach(t.Context(), "eth0", "stream:"+dir+"/d"),
		"detach nothing":    c.Detach(t.Context(), "vale0:1"),
		"set nothing":       c.Set(t.Context(), "vale7:1", ctl.Settings{}),
	} {
		if err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	go stop()
	if all = status(t, lines); len(all) != 2 || all[0].Ports[0].Name != "3" || all[0].Ports[0].Up {
		t.Errorf("at the end: %+v", all)
	}
	for lines.Scan() {
	}
	left, _ := filepath.Glob(dir + "/*")
	if len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}

// TestServeRefuses: what cannot be made ends the daemon at once, and leaves nothing.
func TestServeRefuses(t *testing.T) {
	dir := t.TempDir()
	_, stop := serving(t, ServeOptions{Ports: []string{"stream:" + dir + "/a", "stream:" + dir + "/a"}})
	if err := stop(); !errors.Is(err, ErrUsage) {
		t.Error(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "busy"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, stop = serving(t, ServeOptions{Control: filepath.Join(dir, "busy")})
	if err := stop(); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Error(err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "a")); err == nil {
		t.Error("a socket is left")
	}
}

// TestStaleControl: the control socket of a daemon that was killed is replaced.
func TestStaleControl(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ctl")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
	lines, stop := serving(t, ServeOptions{Control: path})
	if all := status(t, lines); len(all) != 0 {
		t.Errorf("%+v", all)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := (ctl.Client{Socket: path}).Status(ctx); err != nil {
		t.Error(err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
