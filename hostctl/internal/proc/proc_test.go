package proc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"picolab/hostctl/internal/leak"
)

const roleKey = "PICOLAB_TEST_ROLE"

func TestMain(m *testing.M) {
	if os.Getenv(roleKey) != "" {
		parent()
	}
	os.Exit(leak.Run(m))
}

func sh(script string) Cmd { return Cmd{Path: "sh", Args: []string{"-c", script}} }

func TestExit(t *testing.T) {
	for _, c := range []struct {
		script string
		code   int
		signal syscall.Signal
		text   string
	}{
		{"exit 0", 0, 0, ""},
		{"echo why >&2; exit 3", 3, 0, "exit status 3: why"},
		{"kill -KILL $$", 137, syscall.SIGKILL, "signal: killed"},
	} {
		err := Run(t.Context(), sh(c.script))
		var x *ExitError
		if c.code == 0 {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		if !errors.As(err, &x) || x.Code != c.code || x.Signal != c.signal || !strings.Contains(err.Error(), c.text) || x.Cause != nil {
			t.Errorf("%s: %v", c.script, err)
		}
	}
}

func TestOutput(t *testing.T) {
	var out, errs, log bytes.Buffer
	c := Cmd{
		Path: "cat", Args: []string{"-", "/no such file"}, Stdin: strings.NewReader("in"), Stdout: &out, Stderr: &errs,
		Env: []string{"LC_ALL=C"}, Log: func(s string) { log.WriteString(s) },
	}
	if err := Run(t.Context(), c); err == nil {
		t.Error("cat found it")
	}
	if out.String() != "in" || !strings.Contains(errs.String(), "No such file") || log.String() != "cat - '/no such file'" {
		t.Errorf("%q %q %q", out.String(), errs.String(), log.String())
	}
}

func TestMissingProgram(t *testing.T) {
	if _, err := Start(t.Context(), Cmd{Path: "no-such-program"}); !errors.Is(err, exec.ErrNotFound) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Start(ctx, sh("exit 0")); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	boom := errors.New("boom")
	if _, err := Start(t.Context(), Cmd{Path: "true", OnThread: func() error { return boom }}); !errors.Is(err, boom) {
		t.Error(err)
	}
}

// The end of the context, a deadline and Kill end the whole group, also one that ignores SIGTERM.
func TestEnds(t *testing.T) {
	const stubborn = `trap "" TERM; sleep 60 & echo $!; wait; wait; wait`
	for name, c := range map[string]struct {
		change func(*Cmd)
		end    func(*Process, context.CancelFunc)
		cause  error
	}{
		"context":  {func(*Cmd) {}, func(_ *Process, cancel context.CancelFunc) { cancel() }, context.Canceled},
		"deadline": {func(c *Cmd) { c.Deadline = 100 * time.Millisecond }, func(*Process, context.CancelFunc) {}, context.DeadlineExceeded},
		"kill":     {func(*Cmd) {}, func(p *Process, _ context.CancelFunc) { p.Kill(50 * time.Millisecond) }, errKilled},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		var out bytes.Buffer
		cmd := sh(stubborn)
		cmd.Stdout, cmd.Grace = &out, 50*time.Millisecond
		c.change(&cmd)
		p, err := Start(ctx, cmd)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
		c.end(p, cancel)
		err = p.Wait()
		cancel()
		var x *ExitError
		if !errors.Is(err, c.cause) || !errors.As(err, &x) || x.Signal != syscall.SIGKILL {
			t.Errorf("%s: %v", name, err)
		}
		if child, err := strconv.Atoi(strings.TrimSpace(out.String())); err != nil || !dies(child) {
			t.Errorf("%s: grandchild %q lives, %v", name, out.String(), err)
		}
	}
}

// dies waits for the end of a process that was killed, which a busy machine may put off.
func dies(pid int) bool {
	for limit := time.Now().Add(10 * time.Second); alive(pid); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			return false
		}
	}
	return true
}

func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(stat), ") ")
	return err == nil && !strings.HasPrefix(rest, "Z")
}

// A child that keeps our pipe but left the group does not hold Wait.
func TestDaemonHoldsPipe(t *testing.T) {
	if _, err := exec.LookPath("setsid"); err != nil {
		t.Skip("setsid(1) not installed")
	}
	var out bytes.Buffer
	c := sh("setsid sh -c 'echo $$ >pid; exec sleep 1000' & until test -s pid; do sleep 0.01; done; cat pid")
	c.Dir, c.Stdout = t.TempDir(), &out
	if err := Run(t.Context(), c); err != nil {
		t.Error(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(out.String()))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Errorf("the child was gone: %v", err)
	}
}

// The parent-death signal follows threads: with the starting goroutine's thread gone, the child must live on.
func TestChildOutlivesThreads(t *testing.T) {
	var wg sync.WaitGroup
	children := make(chan *Process, 10)
	for range cap(children) {
		wg.Go(func() {
			runtime.LockOSThread() // and never unlocked: the thread ends here
			p, err := Start(t.Context(), Cmd{Path: "sleep", Args: []string{"60"}})
			if err != nil {
				t.Error(err)
				return
			}
			children <- p
		})
	}
	wg.Wait()
	close(children)
	time.Sleep(200 * time.Millisecond)
	for p := range children {
		select {
		case <-p.Done():
			t.Error("a child died with its starter's thread:", p.Wait())
		default:
		}
		p.Kill(0)
	}
}

// parent starts children and prints their pids; the test kills it.
func parent() {
	for range 5 {
		p, err := Start(context.Background(), Cmd{Path: "sleep", Args: []string{"60"}})
		if err != nil {
			os.Exit(1)
		}
		fmt.Println(p.Pid())
	}
	fmt.Println("end")
	select {}
}

func TestChildrenDieWithParent(t *testing.T) {
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), roleKey+"=parent")
	out, err := c.StdoutPipe()
	if err != nil || c.Start() != nil {
		t.Fatal(err)
	}
	var pids []int
	for {
		var word string
		if _, err := fmt.Fscan(out, &word); err != nil || word == "end" {
			break
		}
		pid, _ := strconv.Atoi(word)
		pids = append(pids, pid)
	}
	_ = c.Process.Kill()
	_ = c.Wait()
	time.Sleep(200 * time.Millisecond)
	if len(pids) != 5 || slices.ContainsFunc(pids, alive) {
		t.Errorf("children %v", pids)
	}
}

func TestStderrIsBounded(t *testing.T) {
	err := Run(t.Context(), sh("for i in $(seq 3000); do echo line number $i of the output >&2; done; exit 1"))
	var x *ExitError
	if !errors.As(err, &x) || strings.Count(x.Stderr, "\n") != tailLines-1 || !strings.HasSuffix(x.Stderr, "number 3000 of the output") {
		t.Error(err)
	}
}

func FuzzTail(f *testing.F) {
	f.Add([]byte("a\nb\n"), uint8(1))
	f.Add(bytes.Repeat([]byte("x"), 3*tailBytes), uint8(200))
	f.Fuzz(func(t *testing.T, data []byte, chunk uint8) {
		tl := newTail(nil)
		for rest := data; len(rest) > 0; {
			n := min(len(rest), int(chunk)+1)
			_, _ = tl.Write(rest[:n])
			rest = rest[n:]
		}
		kept := data[max(0, len(data)-tailBytes):]
		if !strings.HasSuffix(strings.TrimRight(string(kept), "\r\n"), tl.String()) {
			t.Errorf("%q is not the end of what was written", tl.String())
		}
	})
}

// A shell reads back what Quote wrote.
func TestQuote(t *testing.T) {
	for _, args := range [][]string{
		{"qemu", "-name", "guest=a,debug-threads=on"}, {"a b", "c'd", `e"f`, "$HOME", "`x`", "\\", "*", "", "~", "#", "\n", "ä"}, {"A=b", "c=d"},
	} {
		out, err := exec.Command("sh", "-c", "printf '%s\\0' "+Quote(args)).Output()
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"); !slices.Equal(got, args) {
			t.Errorf("%q came back as %q", args, got)
		}
	}
	if got := Quote([]string{"qemu", "-m", "256M", "-append", "quiet panic=-1"}); got != "qemu -m 256M -append 'quiet panic=-1'" {
		t.Error(got)
	}
	if got := Quote([]string{"A=b"}); got != "'A=b'" {
		t.Error("it would be taken for an assignment:", got)
	}
}
