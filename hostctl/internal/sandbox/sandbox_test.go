package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"picolab/hostctl/internal/netdev"
	"picolab/hostctl/internal/proc"
)

func init() {
	Register("code", func(_ context.Context, p []byte) int { return int(p[0]) })
	Register("look", func(context.Context, []byte) int { return printJSON(look()) })
	Register("binds", func(context.Context, []byte) int { return printJSON(useBinds()) })
	Register("wait", func(ctx context.Context, p []byte) int {
		fmt.Println("up")
		<-ctx.Done()
		if string(p) == "stubborn" {
			select {}
		}
		return 42
	})
	Register("orphans", func(ctx context.Context, _ []byte) int { return orphans(ctx) })
	Register("cat", func(ctx context.Context, _ []byte) int {
		if err := proc.Run(ctx, proc.Cmd{Path: "cat", Stdin: os.Stdin, Stdout: os.Stdout}); err != nil {
			fmt.Println(err)
			return 1
		}
		return 0
	})
	Register("nested", func(ctx context.Context, _ []byte) int { return nested(ctx) })
}

// view is what a process sees inside.
type view struct {
	Pid, Ppid, UID     int
	Processes          []string
	Links              []netdev.Link
	Hostname, NNP, Env string
	Caps               string
	WriteRoot, Write   map[string]string
	Devices            map[string]string
}

func printJSON(v any) int {
	if err := json.NewEncoder(os.Stdout).Encode(v); err != nil {
		return 1
	}
	return 0
}

func look() view {
	v := view{Pid: os.Getpid(), Ppid: os.Getppid(), UID: os.Getuid(), Env: strings.Join(os.Environ(), "\n")}
	v.Processes, _ = filepath.Glob("/proc/[0-9]*")
	v.Links, _ = netdev.List()
	v.Hostname, _ = os.Hostname()
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "NoNewPrivs:"); ok {
			v.NNP = strings.TrimSpace(value)
		}
		if value, ok := strings.CutPrefix(line, "CapBnd:"); ok {
			v.Caps = strings.TrimSpace(value)
		}
	}
	v.WriteRoot, v.Write = map[string]string{}, map[string]string{}
	for _, dir := range []string{"/", "/etc", "/usr", "/var"} {
		v.WriteRoot[dir] = errText(os.WriteFile(dir+"/x", nil, 0o600))
	}
	for _, dir := range []string{"/run", "/tmp", "/dev/shm"} {
		v.Write[dir] = errText(os.WriteFile(dir+"/x", nil, 0o600))
	}
	v.Devices = map[string]string{}
	for _, d := range []string{"null", "zero", "full", "random", "urandom", "ptmx"} {
		f, err := os.OpenFile("/dev/"+d, os.O_RDWR, 0)
		if err == nil {
			f.Close()
		}
		v.Devices[d] = errText(err)
	}
	return v
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// run starts a sandbox, waits for it and gives its output. What this machine denies skips the test, with the reason.
func run(t *testing.T, spec Spec) (string, int) {
	t.Helper()
	var out strings.Builder
	if spec.Root == "" {
		spec.Root = "/"
	}
	spec.Stdout, spec.Stderr = &out, &out
	s := begin(t, t.Context(), spec)
	code, err := s.Wait()
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	return out.String(), code
}

func begin(t *testing.T, ctx context.Context, spec Spec) *Sandbox {
	t.Helper()
	s, err := Start(ctx, spec)
	var d *DeniedError
	if errors.As(err, &d) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// both runs a test with and without a user namespace.
func both(t *testing.T, test func(*testing.T, Spec)) {
	t.Run("root", func(t *testing.T) {
		if !mayMount() {
			t.Skip("CAP_SYS_ADMIN is missing")
		}
		test(t, Spec{})
	})
	t.Run("userns", func(t *testing.T) { test(t, Spec{UserNS: true}) })
}

func TestExitCode(t *testing.T) {
	both(t, func(t *testing.T, s Spec) {
		for _, want := range []byte{0, 1, 7, 125} {
			s.Entry, s.Payload = "code", []byte{want}
			if _, code := run(t, s); code != int(want) {
				t.Errorf("code %d, want %d", code, want)
			}
		}
	})
}

func TestView(t *testing.T) {
	both(t, func(t *testing.T, s Spec) {
		s.Entry, s.Hostname, s.Env = "look", "lab-a", []string{"PICOLAB_X=1"}
		out, code := run(t, s)
		var v view
		if err := json.Unmarshal([]byte(out), &v); err != nil || code != 0 {
			t.Fatalf("%d, %v: %s", code, err, out)
		}
		checkView(t, v)
		if v.has(unix.CAP_SYS_MODULE) || !v.has(unix.CAP_NET_ADMIN) {
			t.Errorf("capability bounding set %s", v.Caps)
		}
	})
}

// TestModules shows that only who asks for it keeps the leave to load modules, and no other that is dropped.
func TestModules(t *testing.T) {
	both(t, func(t *testing.T, s Spec) {
		s.Entry, s.Modules = "look", true
		out, code := run(t, s)
		var v view
		if err := json.Unmarshal([]byte(out), &v); err != nil || code != 0 {
			t.Fatalf("%d, %v: %s", code, err, out)
		}
		if !v.has(unix.CAP_SYS_MODULE) || v.has(unix.CAP_SYS_BOOT) {
			t.Errorf("capability bounding set %s", v.Caps)
		}
	})
}

// has says whether a capability is in the bounding set.
func (v view) has(capability int) bool {
	var caps uint64
	fmt.Sscanf(v.Caps, "%x", &caps)
	return caps&(1<<capability) != 0
}

func checkView(t *testing.T, v view) {
	if v.Pid == 1 || v.Ppid != 1 || v.UID != 0 || len(v.Processes) != 2 {
		t.Errorf("pid %d, parent %d, uid %d, processes %v", v.Pid, v.Ppid, v.UID, v.Processes)
	}
	if v.Hostname != "lab-a" || v.NNP != "1" || !strings.Contains(v.Env, "PICOLAB_X=1") {
		t.Errorf("host name %q, no_new_privs %q, environment %q", v.Hostname, v.NNP, v.Env)
	}
	if len(v.Links) != 1 || v.Links[0].Name != "lo" || !v.Links[0].Up {
		t.Errorf("links %+v", v.Links)
	}
	for dir, err := range v.WriteRoot {
		if err == "" {
			t.Errorf("%s is writable", dir)
		}
	}
	for _, m := range []map[string]string{v.Write, v.Devices} {
		for name, err := range m {
			if err != "" {
				t.Errorf("%s: %s", name, err)
			}
		}
	}
}

// tools of this machine see no mount of ours, and a mount made inside is not seen here.
func TestMountsStayInside(t *testing.T) {
	before := mounts(t)
	s := begin(t, t.Context(), Spec{Root: "/", Entry: "wait"})
	if during := mounts(t); during != before {
		t.Errorf("mounts changed:\n%s\n%s", before, during)
	}
	s.Kill()
	if code, err := s.Wait(); code != exitKilled || err != nil {
		t.Error(code, err)
	}
}

func mounts(t *testing.T) string {
	t.Helper()
	m, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return string(m)
}

func useBinds() map[string]string {
	got := map[string]string{}
	for _, dir := range []string{"/run/lab/ro", "/run/lab/rw"} {
		data, err := os.ReadFile(dir + "/in")
		got[dir] = string(data) + errText(err)
		got[dir+"/w"] = errText(os.WriteFile(dir+"/out", []byte("out"), 0o644))
	}
	data, err := os.ReadFile("/run/lab/file")
	got["file"] = string(data) + errText(err)
	c, err := net.Dial("unix", "/run/lab/rw/sock")
	if err == nil {
		c.Close()
	}
	got["sock"] = errText(err)
	return got
}

func TestBinds(t *testing.T) {
	both(t, func(t *testing.T, s Spec) {
		ro, rw := t.TempDir(), t.TempDir()
		for _, d := range []string{ro, rw} {
			if err := os.WriteFile(d+"/in", []byte("in"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		l, err := net.Listen("unix", rw+"/sock")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		s.Entry = "binds"
		s.Binds = []Bind{{ro, "/run/lab/ro", true}, {rw, "/run/lab/rw", false}, {rw + "/in", "/run/lab/file", true}}
		out, _ := run(t, s)
		var got map[string]string
		if err := json.Unmarshal([]byte(out), &got); err != nil {
			t.Fatal(err, out)
		}
		for name, want := range map[string]string{"/run/lab/ro": "in", "/run/lab/rw": "in", "/run/lab/rw/w": "", "file": "in", "sock": ""} {
			if got[name] != want {
				t.Errorf("%s: %q", name, got[name])
			}
		}
		if !strings.Contains(got["/run/lab/ro/w"], "read-only") {
			t.Error(got)
		}
		if data, err := os.ReadFile(rw + "/out"); string(data) != "out" {
			t.Error(err)
		}
	})
}

func TestRefuses(t *testing.T) {
	for want, s := range map[string]Spec{
		"not registered": {Root: "/", Entry: "nonsense"},
		"over the limit": {Root: "/", Entry: "code", Payload: make([]byte, maxPayload+1)},
		"no such file":   {Root: "/no/such/root", Entry: "code"},
		"clean path":     {Root: "/", Entry: "code", Binds: []Bind{{"/tmp", "/etc", true}}},
		"bind source":    {Root: "/", Entry: "code", Binds: []Bind{{"/no/such/file", "/run/x", true}}},
		"has no folder":  {Root: t.TempDir(), Entry: "code"},
		"read from":      {Root: "/", Entry: "code", Detach: true, Stdin: strings.NewReader("")},
		"write only to":  {Root: "/", Entry: "code", Detach: true, Stdout: &strings.Builder{}},
	} {
		s.Payload = append(s.Payload, 0)
		if _, err := Start(t.Context(), s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
}

func TestPayloadIsLarge(t *testing.T) {
	if _, code := run(t, Spec{Entry: "code", Payload: append([]byte{9}, make([]byte, 8<<20)...)}); code != 9 {
		t.Error(code)
	}
}

// A stage's descriptors stay open when the collector runs, as it does in the first stage's work on many binds.
func TestCollector(t *testing.T) {
	t.Setenv("GOGC", "1")
	dir := t.TempDir()
	s := Spec{Entry: "code", Payload: []byte{9}}
	for i := range 500 {
		s.Binds = append(s.Binds, Bind{dir, fmt.Sprintf("/run/lab/%d", i), true})
	}
	for range 5 {
		if _, code := run(t, s); code != 9 {
			t.Fatal(code)
		}
	}
}

func TestStdin(t *testing.T) {
	if out, _ := run(t, Spec{Entry: "cat", Stdin: strings.NewReader("through")}); out != "through" {
		t.Errorf("%q", out)
	}
}

// The end of the context is a request; the grace time makes it an order.
func TestContextEnds(t *testing.T) {
	for payload, want := range map[string]int{"": 42, "stubborn": exitKilled} {
		ctx, cancel := context.WithCancel(t.Context())
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		s := begin(t, ctx, Spec{Root: "/", Entry: "wait", Payload: []byte(payload), Stdout: w, Grace: 200 * time.Millisecond})
		w.Close()
		_, _ = r.Read(make([]byte, 2)) // "up"
		cancel()
		if code, err := s.Wait(); code != want || err != nil {
			t.Errorf("%q: code %d, %v", payload, code, err)
		}
		r.Close()
	}
}

// Either of the two guards ends a sandbox whose maker is gone. The parent-death signal is proc's; this is the other.
func TestLifeline(t *testing.T) {
	both(t, func(t *testing.T, spec Spec) {
		spec.Root, spec.Entry = "/", "wait"
		s := begin(t, t.Context(), spec)
		s.lifeline.Close()
		if code, err := s.Wait(); code != exitKilled || err != nil {
			t.Error(code, err)
		}
	})
}

// Signals sent the instant the sandbox is up must not be lost.
func TestEarlySignal(t *testing.T) {
	for range 5 {
		s := begin(t, t.Context(), Spec{Root: "/", Entry: "wait", Grace: 300 * time.Millisecond})
		if err := s.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		// Before the entry has its handler the default action ends it.
		if code, err := s.Wait(); err != nil || code != 42 && code != 128+int(syscall.SIGTERM) {
			t.Error(code, err)
		}
	}
}

// orphans leaves 20 grandchildren to PID 1 and looks for zombies.
func orphans(ctx context.Context) int {
	for range 20 {
		if err := proc.Run(ctx, proc.Cmd{Path: "sh", Args: []string{"-c", "sleep 0.05 & exit 0"}}); err != nil {
			fmt.Println(err)
			return 1
		}
	}
	for range 100 {
		time.Sleep(20 * time.Millisecond)
		if list, _ := filepath.Glob("/proc/[0-9]*"); len(list) == 2 {
			return 0
		}
	}
	return 1
}

func TestOrphansAreReaped(t *testing.T) {
	if out, code := run(t, Spec{Entry: "orphans"}); code != 0 {
		t.Error(code, out)
	}
}

// nested: in a user namespace whose limit of user namespaces is 0 another sandbox is denied.
func nested(ctx context.Context) int {
	if err := os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0); err != nil {
		fmt.Println(err)
		return 1
	}
	_, err := Start(ctx, Spec{Root: "/", Entry: "code", UserNS: true})
	fmt.Println(err)
	if !errors.Is(err, unix.ENOSPC) {
		return 1
	}
	return 0
}

func TestLimitIsNamed(t *testing.T) {
	out, code := run(t, Spec{Entry: "nested", UserNS: true})
	if code != 0 || !strings.Contains(out, "NEWUSER") || !strings.Contains(out, "user.max_user_namespaces") {
		t.Errorf("%d: %s", code, out)
	}
}

func TestRemedies(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{explainClone(&os.PathError{Op: "fork/exec", Err: unix.EPERM}, false), "--privileged"},
		{explainClone(&os.PathError{Op: "fork/exec", Err: unix.EPERM}, true), "user"},
		{explainClone(&os.PathError{Op: "fork/exec", Err: unix.EINVAL}, true), "kernel lacks"},
		{denied("mount proc on /proc", unix.EPERM), "masked"},
		{denied("make mounts private", unix.EPERM), "SYS_ADMIN"},
	} {
		if !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("no %q in %v", c.want, c.err)
		}
	}
	if err := denied("x", unix.EPERM); !errors.Is(err, unix.EPERM) {
		t.Error("the errno is lost")
	}
}

// helper runs this test binary as another process, in which the environment names what to do (see TestMain).
func helper(t *testing.T, role string, change func(*exec.Cmd)) *exec.Cmd {
	t.Helper()
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), roleKey+"="+role)
	c.Dir = "/"
	if change != nil {
		change(c)
	}
	return c
}
