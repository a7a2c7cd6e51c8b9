package runs

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"picolab/hostctl/internal/place"
	"picolab/hostctl/internal/remote"
	"picolab/hostctl/internal/sandbox"
	"picolab/hostctl/report"
)

// Kinds of messages of a relay, beside those of package remote.
const (
	kindRun    = "run"    // report.Run
	kindEvent  = "event"  // event
	kindResult = "result" // report.Result, after its evidence
	kindProbes = "probes" // []probe.Probe
	kindLog    = "log"    // string: what would have gone to standard error
	kindEnd    = "end"    // end, the last one
)

// order is what a relay is told. Exactly one of its tasks is set.
type order struct {
	Images string `json:"images,omitempty"` // folder there; "" for the appliance's own
	Run    *job   `json:"run,omitempty"`
	Doctor bool   `json:"doctor,omitempty"`
}

// end says how a relay ended.
type end struct {
	Error string `json:"error,omitempty"`
}

// aliveEvery is how often a relay shows that it lives; see lab.WaitAlive.
const aliveEvery = time.Second

func init() { sandbox.RegisterProgram(remote.Program, relayMain) }

// relayMain is a process on the other host. Its own file is removed at once, so that nothing stays however it ends: the
// sandbox starts from /proc/self/exe.
func relayMain() int {
	if path := os.Args[0]; filepath.IsAbs(path) {
		os.Remove(path)
		os.Remove(filepath.Dir(path)) // fails unless it was made for the program alone
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	return relay(ctx, os.Stdin, os.Stdout)
}

// relay obeys one order. Its exit code says only whether it could.
func relay(ctx context.Context, in io.Reader, out io.Writer) int {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &relaying{out: remote.NewWriter(out)}
	lines := bufio.NewReader(io.LimitReader(in, remote.MaxLine))
	line, err := lines.ReadBytes('\n')
	var o order
	if err == nil {
		err = json.Unmarshal(line, &o)
	}
	if err != nil {
		_ = r.out.Send(kindEnd, end{Error: "read order: " + err.Error()})
		return report.ExitUsage
	}
	go func() { // ends with the process at the latest: a read of standard input cannot be interrupted
		_, _ = io.Copy(io.Discard, lines)
		cancel()
	}()
	alive := r.live(ctx, cancel)
	err = r.obey(ctx, o)
	cancel()
	<-alive
	var e end
	if err != nil {
		e.Error = err.Error()
	}
	if r.out.Send(kindEnd, e) != nil {
		return report.ExitError
	}
	return 0
}

// relaying is a relay at work.
type relaying struct {
	out       *remote.Writer
	dir       string
	described bool
}

// live sends signs of life; when nobody takes them the work ends too.
func (r *relaying) live(ctx context.Context, cancel func()) (done chan struct{}) {
	done = make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(aliveEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if r.out.Send(remote.KindAlive, nil) != nil {
				cancel()
			}
		}
	}()
	return done
}

func (r *relaying) obey(ctx context.Context, o order) error {
	p, err := place.New(o.Images)
	if err != nil {
		return err
	}
	if o.Doctor {
		answers, err := Examine(ctx, p, logTo{r.out})
		if err != nil {
			return err
		}
		return r.out.Send(kindProbes, answers)
	}
	if o.Run == nil {
		return errors.New("the order has no task")
	}
	return r.run(ctx, p, *o.Run)
}

// run runs the job in a container of this host and sends what it leaves as it comes.
func (r *relaying) run(ctx context.Context, p place.Place, j job) (err error) {
	if r.dir, err = os.MkdirTemp("", "picolab-run-"); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	defer os.RemoveAll(r.dir)
	if j.HostName == "" {
		if j.HostName, err = os.Hostname(); err != nil {
			return fmt.Errorf("ask for the host's name: %w", err)
		}
	}
	j.Tell = true
	err = j.enter(ctx, cmp.Or(j.Inner, entry), p, r.dir, &listener{hear: r.hear}, logTo{r.out})
	return errors.Join(err, r.sendRest())
}

// hear passes an event on. A result comes after its evidence, so that whoever reads it finds the files.
func (r *relaying) hear(e event) error {
	if !r.described {
		run, err := report.ReadRun(filepath.Join(r.dir, report.RunFile))
		if err != nil {
			return err
		}
		if err := r.out.Send(kindRun, run); err != nil {
			return err
		}
		r.described = true
	}
	if e.What != eventDone {
		return r.out.Send(kindEvent, e)
	}
	for _, name := range e.Result.Evidence {
		if err := r.sendFile(name); err != nil {
			return err
		}
	}
	return r.out.Send(kindResult, e.Result)
}

// sendFile sends a file of the run's folder and removes it: the folder is in this host's memory.
func (r *relaying) sendFile(name string) error {
	path := filepath.Join(r.dir, name)
	err := r.out.SendFile(name, path)
	if errors.Is(err, fs.ErrNotExist) { // evidence of two instances, or none after all
		return nil
	}
	if err == nil {
		err = os.Remove(path)
	}
	return err
}

// sendRest sends what no result names: the labs' logs, and what an interrupted instance left.
func (r *relaying) sendRest() error {
	for _, sub := range []string{casesDir, labsDir} {
		err := filepath.WalkDir(filepath.Join(r.dir, sub), func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			name, err := filepath.Rel(r.dir, path)
			if err != nil {
				return err
			}
			return r.sendFile(name)
		})
		if err != nil {
			return fmt.Errorf("send evidence: %w", err)
		}
	}
	return nil
}

// logTo sends text as messages.
type logTo struct{ out *remote.Writer }

func (l logTo) Write(p []byte) (int, error) {
	return len(p), l.out.Send(kindLog, strings.TrimRight(string(p), "\n"))
}
