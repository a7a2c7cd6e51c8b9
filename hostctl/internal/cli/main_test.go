package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"picolab/hostctl/internal/sandbox"
)

// asHostctl in the environment makes this test binary behave as the command.
const asHostctl = "PICOLAB_TEST_AS_HOSTCTL"

func TestMain(m *testing.M) {
	sandbox.Main()
	if os.Getenv(asHostctl) != "" {
		hostctlMain()
	}
	testscript.Main(checked{m}, map[string]func(){"hostctl": hostctlMain})
}

func hostctlMain() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := Main(ctx, Env{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Args: os.Args[1:]})
	stop()
	os.Exit(code)
}

// checked fails a passing run that leaves goroutines behind.
type checked struct{ m *testing.M }

func (c checked) Run() int {
	code := c.m.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Println(err)
		return 1
	}
	return code
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("PICOLAB_RUN", e.WorkDir+"/run")
			e.Setenv("PICOLAB_CACHE", e.WorkDir+"/cache")
			e.Setenv("PICOLAB_IMAGES", e.WorkDir+"/images")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"code": checkCode},
	})
}

// checkCode runs a command and wants an exit code: code N COMMAND...
func checkCode(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}

// A world is one user's folders for running hostctl as a process of its own.
type world struct {
	t   *testing.T
	env []string
	run string
}

// newWorld needs images; guests are slow and shared by nobody.
func newWorld(t *testing.T) *world {
	t.Helper()
	if os.Getenv("PICOLAB_IMAGES") == "" {
		t.Skip("PICOLAB_IMAGES not set: run make test")
	}
	run := t.TempDir()
	w := &world{t: t, run: run, env: append(os.Environ(), asHostctl+"=1", "PICOLAB_RUN="+run, "PICOLAB_CACHE="+t.TempDir())}
	t.Cleanup(func() { w.command("down", "--all").Run() })
	return w
}

func (w *world) command(args ...string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		w.t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = w.env
	return cmd
}

// hostctl runs the command and wants an exit code; it returns both outputs.
func (w *world) hostctl(code int, stdin string, args ...string) (stdout, stderr string) {
	w.t.Helper()
	cmd := w.command(args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	err := cmd.Run()
	if got := cmd.ProcessState.ExitCode(); got != code {
		w.t.Fatalf("hostctl %s: exit code %d, want %d (%v)\n%s%s", strings.Join(args, " "), got, code, err, out.String(), errs.String())
	}
	return out.String(), errs.String()
}
