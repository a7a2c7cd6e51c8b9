package labs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"picolab/hostctl/internal/flock"
	"picolab/hostctl/internal/place"
	"picolab/hostctl/internal/sandbox"
	"picolab/hostctl/lab"
)

// entryName is the sandbox entry that keeps a lab.
const entryName = "lab"

func init() { sandbox.Register(entryName, inside) }

// inside runs in the sandbox: it brings the lab up, answers the command that started it, serves the control socket and
// takes the lab down again.
func inside(ctx context.Context, data []byte) int {
	lock, err := flock.Try(filepath.Join(insideState, "lab.lock"))
	if err != nil {
		reply(result{Class: classInfra, Error: err.Error()})
		return 1
	}
	defer lock.Release()
	var p payload
	if err := json.Unmarshal(data, &p); err != nil {
		reply(result{Class: classInfra, Error: "read payload: " + err.Error()})
		return 1
	}
	k := &keeper{phase: Starting}
	l, err := k.up(ctx, p.Spec)
	if err != nil {
		reply(result{Class: classOf(err), Error: err.Error()})
		return 1
	}
	code := k.serve(ctx, l)
	if err := l.Down(context.WithoutCancel(ctx)); err != nil {
		logf("%v", err)
		return 1
	}
	k.bye()
	return code
}

// reply writes the one line that the starting command waits for.
func reply(r result) error { return json.NewEncoder(os.Stdout).Encode(r) }

// logf writes to lab.log, which is the sandbox's standard error.
func logf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s %s\n", time.Now().UTC().Format("15:04:05.000"), fmt.Sprintf(format, args...))
}

// A keeper is the inside's state.
type keeper struct {
	mu    sync.Mutex
	phase string
	lab   *lab.Lab // nil while starting

	conns  sync.WaitGroup
	down   chan struct{} // closed by the first request to go down
	once   sync.Once
	gone   chan struct{} // closed when the lab is down
	signal context.CancelFunc
}

// up brings the lab up, or gives up when the starting command disappears: nobody would know of the lab.
func (k *keeper) up(ctx context.Context, spec lab.Spec) (*lab.Lab, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	watching, stop := context.WithCancel(ctx)
	go func() {
		defer close(watched)
		if readerGone(watching, os.Stdout) {
			cancel(fmt.Errorf("the command that started the lab is gone"))
		}
	}()
	l, err := lab.Up(ctx, spec, lab.Env{
		Dir: place.InsideOut, Images: place.InsideImages, Cache: place.InsideCache, Logf: logf, OnState: k.save,
	})
	if err == nil {
		err = connect(ctx, l)
	}
	stop()
	<-watched
	return l, err
}

// connect makes the guests reachable at the addresses that the lab's state tells, or takes the lab down.
func connect(ctx context.Context, l *lab.Lab) error {
	for _, v := range l.Guests() {
		if err := v.Connect(ctx); err != nil {
			return errors.Join(err, l.Down(context.WithoutCancel(ctx)))
		}
	}
	return nil
}

// readerGone waits until nobody reads the pipe any more (poll(2), POLLERR) or ctx ends, and says which.
func readerGone(ctx context.Context, pipe *os.File) bool {
	const interval = 100 // ms; a poll that waits for an error only cannot be combined with ctx
	for ctx.Err() == nil {
		fds := []unix.PollFd{{Fd: int32(pipe.Fd())}}
		if n, _ := unix.Poll(fds, interval); n > 0 && fds[0].Revents&unix.POLLERR != 0 {
			return true
		}
	}
	return false
}

// save rewrites state.json; the lab calls it after every change.
func (k *keeper) save() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.lab == nil {
		return
	}
	if err := writeJSON(filepath.Join(insideState, "state.json"), snapshot(k.lab, k.phase)); err != nil {
		logf("save state: %v", err)
	}
}
