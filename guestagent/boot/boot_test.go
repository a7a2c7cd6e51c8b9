package boot

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"picolab/guestagent/internal/child"
	"picolab/guestagent/module"
	"picolab/guestagent/wire"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func writeFile(t *testing.T, root, name, text string) {
	t.Helper()
	name = filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestConfig(t *testing.T) {
	root := t.TempDir()
	writeFile(t, root, bootFile, `{"token":"secret","image":"id","hostname":"a","agent_port":1025,"swap":"/dev/vda"}`)
	writeFile(t, root, modulesFile, "a\n# not this\n\n b \n")
	writeFile(t, root, cmdlineFile, "quiet picolab.shell picolab.x=y=z panic=-1\n")
	c, err := readConfig(root)
	if err != nil {
		t.Fatal(err)
	}
	if c.Token != "secret" || c.Image != "id" || c.Hostname != "a" || c.AgentPort != 1025 || c.Swap != "/dev/vda" || !slices.Equal(c.Modules, []string{"a", "b"}) ||
		!maps.Equal(c.Cmdline, map[string]string{"shell": "1", "x": "y=z"}) {
		t.Errorf("%+v", c)
	}
	if _, err := os.Stat(filepath.Join(root, bootFile)); !os.IsNotExist(err) {
		t.Errorf("the token is still there: %v", err)
	}
	if c, err := readConfig(root); err == nil || c.Token != "" || len(c.Modules) != 2 {
		t.Errorf("second time: %+v, %v", c, err)
	}
	writeFile(t, root, bootFile, `{"token":`)
	if _, err := readConfig(root); err == nil {
		t.Error("half a file is read")
	}
}

// TestNoTokenNoService: an image without a boot segment must not serve whoever dials.
func TestNoTokenNoService(t *testing.T) {
	if _, err := new(guest).listen(); err == nil {
		t.Error("listens without a token")
	}
}

// TestNoTokenIsQuiet: the console of a machine that nobody calls says so once.
func TestNoTokenIsQuiet(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	text := console(t, func() {
		g := &guest{children: new(child.Reaper)}
		done := make(chan struct{})
		go func() { defer close(done); g.serve(ctx) }()
		time.AfterFunc(300*time.Millisecond, cancel)
		<-done
	})
	if n := strings.Count(text, "no token"); n != 1 {
		t.Errorf("said %d times: %q", n, text)
	}
}

// console is what f writes to standard error.
func console(t *testing.T, f func()) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	stderr := os.Stderr
	os.Stderr = w
	f()
	os.Stderr = stderr
	w.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestModaliases: devices on buses and the processor, which is on none, each alias once.
func TestModaliases(t *testing.T) {
	sys := t.TempDir()
	const cpu = "cpu:type:x86,ven0002fam000Fmod006B:feature:,0000,00C2"
	for name, alias := range map[string]string{
		"bus/pci/devices/0000:00:01.0/modalias": "pci:v1d2\n", "bus/pci/devices/0000:00:02.0/modalias": "pci:v1d2\n", "bus/usb/devices/1-1/modalias": "\n",
		"bus/virtio/devices/virtio0/modalias": "virtio:d1\n", "devices/system/cpu/modalias": cpu + "\n",
	} {
		writeFile(t, sys, name, alias)
	}
	if got, want := modaliases(sys), []string{"pci:v1d2", "virtio:d1", cpu}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := modaliases(t.TempDir()); len(got) != 0 {
		t.Errorf("nothing there: %q", got)
	}
}

func TestAddedAlias(t *testing.T) {
	msg := func(s ...string) []byte { return []byte(strings.Join(s, "\x00") + "\x00") }
	for _, tt := range []struct {
		msg  []byte
		want string
	}{
		{msg("add@/devices/pci/x", "ACTION=add", "SUBSYSTEM=pci", "MODALIAS=pci:v1d2"), "pci:v1d2"},
		{msg("remove@/devices/pci/x", "ACTION=remove", "MODALIAS=pci:v1d2"), ""},
		{msg("add@/devices/x", "ACTION=add"), ""},
		{nil, ""},
		{[]byte("libudev\x00\xfe\xed\xca\xfe"), ""},
	} {
		if got := addedAlias(tt.msg); got != tt.want {
			t.Errorf("%q: %q", tt.msg, got)
		}
	}
}

func TestSettle(t *testing.T) {
	set, err := module.Open(t.TempDir(), "0")
	if err != nil {
		t.Fatal(err)
	}
	p := newColdPlug(set, []string{"no_such_module"})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := p.settle(ctx); wire.Classify(err).Code != wire.Code_DEADLINE {
		t.Errorf("before cold plug: %v", err)
	}
	p.run(t.Context())
	r, err := p.settle(t.Context())
	if err != nil || len(r.Failures) != 1 || !strings.HasPrefix(r.Failures[0], "no_such_module: ") {
		t.Errorf("%v, %v", r, err)
	}
}

func TestPanicIsReported(t *testing.T) {
	text := console(t, func() { safely("test", func() { panic("defect") }) })
	if !strings.Contains(text, "picolab: panic in test: defect") {
		t.Errorf("console: %q", text)
	}
}

// TestSwap: without a disk there is nothing to do, and one that is not there is told.
func TestSwap(t *testing.T) {
	set, err := module.Open(t.TempDir(), "0")
	if err != nil {
		t.Fatal(err)
	}
	g := &guest{modules: set}
	if err := g.openSwap(); err != nil {
		t.Error(err)
	}
	g.conf.Swap = "/dev/vda"
	if err := g.openSwap(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a driver: %v", err)
	}
	if err := swapOn("/nowhere"); !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
		t.Errorf("swap to nowhere: %v", err)
	}
}

func TestUnknownPowerAction(t *testing.T) {
	if err := power(t.Context(), "explode"); wire.CodeOf(err) != wire.Code_INVALID {
		t.Errorf("error %v", err)
	}
}

// TestUevents listens to the kernel for a moment.
func TestUevents(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := uevents(ctx, func([]byte) {}); err != nil {
		t.Error(err)
	}
}

// TestHurry: the kernel is asked to hurry and told when that is over, unless its arguments say how it is to be.
func TestHurry(t *testing.T) {
	for _, tt := range []struct {
		name, cmdline string
		absent        bool // the kernel knows no such thing
		during, after string
	}{
		{name: "usual", cmdline: "quiet", during: "1", after: "0"},
		{name: "asked for", cmdline: "quiet rcupdate.rcu_expedited=1", during: "given", after: "given"},
		{name: "refused", cmdline: "rcupdate.rcu_normal=1", during: "given", after: "given"},
		{name: "absent", absent: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			if !tt.absent {
				writeFile(t, root, expeditedFile, "given")
			}
			hurried := hurry(root, tt.cmdline)
			if got := readText(root, expeditedFile); got != tt.during {
				t.Errorf("during the boot: %q, want %q", got, tt.during)
			}
			if hurried {
				check("calm", calm(root))
			}
			if got := readText(root, expeditedFile); got != tt.after {
				t.Errorf("after it: %q, want %q", got, tt.after)
			}
		})
	}
}
