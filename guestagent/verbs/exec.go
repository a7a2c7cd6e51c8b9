package verbs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"picolab/guestagent/internal/child"
	"picolab/guestagent/wire"

	"golang.org/x/sys/unix"
)

// pipeGrace is how long output is read after the command's group is dead: a process that left the group may hold the
// pipe open for ever.
const pipeGrace = 500 * time.Millisecond

// Exec implements wire.AgentService. The command is the leader of a process group (and, where there is one, in a
// cgroup of its own); the group ends with it.
func (v *Verbs) Exec(ctx context.Context, ss wire.Agent_ExecServer) error {
	m, err := ss.Recv()
	if err != nil {
		return err
	}
	start := m.GetStart()
	if start == nil {
		return unexpected("exec")
	}
	if err := checkExec(start); err != nil {
		return err
	}
	c := &command{start: start, ss: ss, credit: wire.NewCredit(), stdin: make(chan []byte, wire.Window)}
	c.left.Store(withDefault(start.Limit, wire.DefaultExecLimit))
	return c.run(ctx, v.env)
}

func checkExec(start *wire.ExecStart) error {
	if len(start.Argv) == 0 || start.Argv[0] == "" {
		return wire.Errorf(wire.Code_INVALID, "exec: no command")
	}
	n := 0
	for _, s := range slices.Concat(start.Argv, start.Env) {
		n += len(s) + 1
		if strings.ContainsRune(s, 0) {
			return wire.Errorf(wire.Code_INVALID, "exec: NUL in an argument")
		}
	}
	if n > wire.MaxArgs {
		return wire.Errorf(wire.Code_TOO_BIG, "exec: %d bytes of arguments, limit %d", n, wire.MaxArgs)
	}
	return nil
}

func withDefault[T int32 | int64 | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

// command is one run of Exec.
type command struct {
	start  *wire.ExecStart
	ss     wire.Agent_ExecServer
	credit *wire.Credit // for output
	stdin  chan []byte  // closed at end of input
	eof    bool         // it is; only the receiving goroutine looks

	proc     *child.Process
	group    *cgroup
	left     atomic.Int64 // bytes that may still be forwarded
	dropped  atomic.Int64
	timedOut atomic.Bool
}

func (c *command) run(ctx context.Context, env Env) error {
	p, err := openPipes(c.start.Stdin)
	if err != nil {
		return err
	}
	defer p.close()
	if err := c.spawn(env, p); err != nil {
		return err
	}
	defer c.group.remove()
	p.closeChild()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var input, output sync.WaitGroup
	go watch(cancel, c.ss, c.receive) // ends with the stream, which ends when this handler returns
	input.Go(func() { c.feed(ctx, p.stdin) })
	output.Go(func() {
		c.pump(ctx, p.stdout, func(b []byte) *wire.ExecOutput { return &wire.ExecOutput{Kind: &wire.ExecOutput_Stdout{Stdout: b}} })
	})
	output.Go(func() {
		c.pump(ctx, p.stderr, func(b []byte) *wire.ExecOutput { return &wire.ExecOutput{Kind: &wire.ExecOutput_Stderr{Stderr: b}} })
	})

	exit := c.wait(ctx)
	p.expire(pipeGrace)
	output.Wait()
	gone := ctx.Err() != nil
	cause := context.Cause(ctx)
	cancel(nil)
	input.Wait()
	if gone {
		return cause
	}
	return c.ss.Send(&wire.ExecOutput{Kind: &wire.ExecOutput_Exit{Exit: c.result(exit)}})
}

// spawn starts the process.
func (c *command) spawn(env Env, p *pipes) error {
	path, err := exec.LookPath(c.start.Argv[0])
	if err != nil && !errors.Is(err, exec.ErrDot) {
		return wire.Errorf(wire.Code_NOT_FOUND, "exec: %w", err)
	}
	attr := &syscall.ProcAttr{
		Dir: c.start.Dir, Env: slices.Concat(os.Environ(), c.start.Env), Files: p.childFDs(),
		Sys: &syscall.SysProcAttr{Setpgid: true},
	}
	if env.Cgroup != nil {
		if c.group, err = newCgroup(env.Cgroup()); err != nil {
			return err
		}
	}
	c.group.confine(attr.Sys)
	c.proc, err = env.Children.Start(path, c.start.Argv, attr)
	if err != nil {
		c.group.remove()
		if errors.Is(err, fs.ErrNotExist) {
			return wire.Errorf(wire.Code_NOT_FOUND, "exec: %w", err)
		}
		return wire.Errorf(wire.Code_GUEST, "exec: %w", err)
	}
	return c.ss.Send(&wire.ExecOutput{Kind: &wire.ExecOutput_Pid{Pid: int32(c.proc.Pid)}})
}

// wait returns when the command has ended: by itself, by its deadline or because nobody wants it any more. The rest of
// its group is dead then.
func (c *command) wait(ctx context.Context) child.Exit {
	deadline := time.NewTimer(withDefault(time.Duration(c.start.TimeoutMs)*time.Millisecond, wire.DefaultExecTimeout))
	defer deadline.Stop()
	defer c.kill(unix.SIGKILL)
	select {
	case e := <-c.proc.Done():
		return e
	case <-ctx.Done():
		c.kill(unix.SIGKILL)
		return <-c.proc.Done()
	case <-deadline.C:
	}
	c.timedOut.Store(true)
	c.kill(unix.SIGTERM)
	select {
	case e := <-c.proc.Done():
		return e
	case <-ctx.Done():
	case <-time.After(wire.KillGrace):
	}
	c.kill(unix.SIGKILL)
	return <-c.proc.Done()
}

// kill signals the whole group. That it is gone already is fine.
func (c *command) kill(sig syscall.Signal) {
	_ = unix.Kill(-c.proc.Pid, sig)
	if sig == unix.SIGKILL {
		c.group.kill()
	}
}

// receive handles one message of the client.
func (c *command) receive(m *wire.ExecInput) error {
	switch k := m.Kind.(type) {
	case *wire.ExecInput_Stdin:
		return c.input(k.Stdin)
	case *wire.ExecInput_StdinEof:
		return c.endInput()
	case *wire.ExecInput_Ack:
		return c.credit.Give(k.Ack)
	}
	return unexpected("exec")
}

func (c *command) input(b []byte) error {
	if c.eof {
		return unexpected("exec")
	}
	select {
	case c.stdin <- b:
		return nil
	default:
		return wire.Errorf(wire.Code_TOO_BIG, "exec: more than %d messages of input in flight", wire.Window)
	}
}

func (c *command) endInput() error {
	if c.eof {
		return unexpected("exec")
	}
	c.eof = true
	close(c.stdin)
	return nil
}

// feed writes the client's input to the command and acknowledges it. After the command has closed its end, the rest is
// dropped.
func (c *command) feed(ctx context.Context, w *os.File) {
	if w == nil {
		return
	}
	defer w.Close()
	stop := context.AfterFunc(ctx, func() { w.Close() })
	defer stop()
	n := uint32(0)
	for {
		select {
		case b, ok := <-c.stdin:
			if !ok {
				return
			}
			_, _ = w.Write(b)
			if n++; n == wire.AckEvery {
				n = 0
				_ = c.ss.Send(&wire.ExecOutput{Kind: &wire.ExecOutput_Ack{Ack: &wire.Ack{Messages: wire.AckEvery}}})
			}
		case <-ctx.Done():
			return
		}
	}
}

// pump forwards what the command writes, up to the limit; beyond it, or when nobody listens, output is read and dropped.
func (c *command) pump(ctx context.Context, r *os.File, message func([]byte) *wire.ExecOutput) {
	buf := make([]byte, wire.Chunk)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			c.forward(ctx, buf[:n], message)
		}
		if err != nil {
			return
		}
	}
}

func (c *command) forward(ctx context.Context, b []byte, message func([]byte) *wire.ExecOutput) {
	keep := c.claim(int64(len(b)))
	if keep > 0 && (c.credit.Take(ctx) != nil || c.ss.Send(message(b[:keep])) != nil) {
		keep = 0
	}
	c.dropped.Add(int64(len(b)) - keep)
}

// claim takes up to n bytes of what may still be forwarded.
func (c *command) claim(n int64) int64 {
	for {
		left := c.left.Load()
		n = min(n, left)
		if c.left.CompareAndSwap(left, left-n) {
			return n
		}
	}
}

func (c *command) result(e child.Exit) *wire.ExecExit {
	x := &wire.ExecExit{
		Code: int32(e.Status.ExitStatus()), Truncated: c.dropped.Load() > 0, Dropped: c.dropped.Load(), TimedOut: c.timedOut.Load(),
		UserUs: e.Usage.Utime.Nano() / 1000, SystemUs: e.Usage.Stime.Nano() / 1000,
	}
	if e.Status.Signaled() {
		x.Signal = int32(e.Status.Signal())
		x.Code = 128 + x.Signal
	}
	return x
}
