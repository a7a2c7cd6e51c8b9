package labs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"picolab/hostctl/internal/flock"
	"picolab/hostctl/lab"
)

// Down ends a lab, waits until nothing of it is left, and removes its folder. A lab that is not there is ErrUnknown and
// nothing is changed; a dead one's folder goes.
func (s *Store) Down(ctx context.Context, name string) error {
	claim, err := s.claim(name)
	if errors.Is(err, flock.ErrHeld) {
		return fmt.Errorf("end lab %s: it is being started or ended by another command", name)
	}
	if err != nil {
		return err
	}
	f := s.folder(name)
	if _, err := os.Stat(string(f)); err != nil {
		claim.Remove()
		return fmt.Errorf("end lab %s: %w", name, ErrUnknown)
	}
	if err := f.end(ctx); err != nil {
		claim.Release()
		return fmt.Errorf("end lab %s: %w", name, err)
	}
	return errors.Join(os.RemoveAll(string(f)), claim.Remove())
}

// end asks the lab to go down; one that does not answer is killed.
func (f folder) end(ctx context.Context) error {
	if !f.alive() {
		return nil
	}
	limit := lab.Timeout(lab.WaitStop, lab.AccelKVM, 0)
	asked, cancel := context.WithTimeout(ctx, 4*limit) // the inside itself waits up to limit for each QEMU
	defer cancel()
	if conn, _, err := f.dial(asked, "DOWN"); err == nil {
		conn.Close()
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return f.kill(ctx, limit)
}

// kill waits for the lab's process to end by itself, then ends it.
func (f folder) kill(ctx context.Context, limit time.Duration) error {
	var p process
	if err := readJSON(f.path("pid"), &p); err != nil {
		return fmt.Errorf("find the lab's process: %w", err)
	}
	wait, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := p.gone(wait); err == nil {
		return nil
	}
	if p.same() {
		syscall.Kill(p.Pid, syscall.SIGKILL)
	}
	wait, cancel = context.WithTimeout(ctx, limit)
	defer cancel()
	return p.gone(wait)
}

// gone waits until the process is not there any more; it is nobody's child here, so only looking tells.
func (p process) gone(ctx context.Context) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for p.same() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("process %d does not end: %w", p.Pid, context.Cause(ctx))
		case <-tick.C:
		}
	}
	return nil
}
