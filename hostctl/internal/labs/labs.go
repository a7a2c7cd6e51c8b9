// Package labs keeps labs that outlive the command that started them: `hostctl up` starts one in a detached sandbox, and
// ps, exec, cp, console, logs and down find it by its name.
//
// Each lab has a folder in the Store, mode 0700:
//
//	lab.lock      held (flock) by the process inside for as long as the lab lives; the kernel lets it go
//	pid           the sandbox's first process: id and start time
//	state.json    State, rewritten by the inside after every change
//	lab.log       progress messages
//	out/          evidence: GUEST/console.log, GUEST/argv.txt, GUEST/qmp.log, links/LINK.pcapng
//	control.sock  see serve.go
//
// NAME.up beside it is held by whoever starts, ends or sweeps the lab.
package labs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"picolab/hostctl/internal/flock"
)

// Errors of names.
var (
	ErrRunning = errors.New("a lab of this name is running or being started (hostctl ps; hostctl down)")
	ErrUnknown = errors.New("no lab of this name is running")
	ErrNoGuest = errors.New("the lab has no guest of this name")
)

// A Store is the folder of one user's running labs.
type Store struct{ dir string }

// Open makes the folder when it is missing.
func Open(dir string) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open lab store: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open lab store: %w", err)
	}
	return &Store{dir: dir}, nil
}

// A folder is one lab's.
type folder string

func (s *Store) folder(name string) folder { return folder(filepath.Join(s.dir, name)) }

func (f folder) path(elem ...string) string {
	return filepath.Join(append([]string{string(f)}, elem...)...)
}

// alive says whether the lab's process still holds its lock.
func (f folder) alive() bool {
	l, err := flock.Try(f.path("lab.lock"))
	if err == nil {
		l.Release()
	}
	return errors.Is(err, flock.ErrHeld)
}

// claim takes the right to start, end or sweep the lab.
func (s *Store) claim(name string) (*flock.Lock, error) {
	return flock.Try(filepath.Join(s.dir, name+".up"))
}

// names are the labs that have a folder, dead or alive, sorted.
func (s *Store) names() ([]string, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("list labs: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names, nil
}
