package verbs

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// pipes are a command's standard streams: our ends, and the child's until it is started.
type pipes struct {
	stdin          *os.File // nil: /dev/null
	stdout, stderr *os.File
	child          [3]*os.File
}

func openPipes(stdin bool) (p *pipes, err error) {
	p = new(pipes)
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if stdin {
		p.child[0], p.stdin, err = os.Pipe()
	} else {
		p.child[0], err = os.Open(os.DevNull)
	}
	if err != nil {
		return nil, fmt.Errorf("exec: %w", err)
	}
	for i, ours := range []**os.File{&p.stdout, &p.stderr} {
		if *ours, p.child[i+1], err = os.Pipe(); err != nil {
			return nil, fmt.Errorf("exec: %w", err)
		}
	}
	return p, nil
}

func (p *pipes) childFDs() []uintptr {
	return []uintptr{p.child[0].Fd(), p.child[1].Fd(), p.child[2].Fd()}
}

// closeChild closes the child's ends, so that ours see the end of file.
func (p *pipes) closeChild() {
	for i, f := range p.child {
		if f != nil {
			f.Close()
			p.child[i] = nil
		}
	}
}

// expire ends reads of output after d.
func (p *pipes) expire(d time.Duration) {
	t := time.Now().Add(d)
	_ = errors.Join(p.stdout.SetReadDeadline(t), p.stderr.SetReadDeadline(t)) // pipes always take deadlines
}

func (p *pipes) close() {
	p.closeChild()
	for _, f := range []*os.File{p.stdin, p.stdout, p.stderr} {
		if f != nil {
			f.Close()
		}
	}
}
