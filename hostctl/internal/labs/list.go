package labs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// List describes all labs that have a folder, sorted by name. Running ones answer for themselves; a lab that is starting
// or dead is described by what it left on disk.
func (s *Store) List(ctx context.Context) ([]State, error) {
	names, err := s.names()
	if err != nil {
		return nil, err
	}
	all := []State{}
	for _, name := range names {
		all = append(all, s.folder(name).state(ctx, name))
	}
	return all, nil
}

// Names are the labs that run or have left a folder.
func (s *Store) Names() ([]string, error) { return s.names() }

func (f folder) state(ctx context.Context, name string) State {
	st := State{Name: name, Guests: []Guest{}, Links: []Link{}}
	var p process
	readJSON(f.path("pid"), &p)
	if !f.alive() {
		readJSON(f.path("state.json"), &st)
		st.Phase, st.Pid = Dead, p.Pid
		return st
	}
	conn, _, err := f.dial(ctx, "STATE")
	if err != nil {
		st.Phase, st.Pid = Starting, p.Pid
		if p.Pid != 0 && !p.same() { // its last thread has yet to let go of the lock
			readJSON(f.path("state.json"), &st)
			st.Phase = Dead
		}
		return st
	}
	defer conn.Close()
	json.NewDecoder(conn).Decode(&st) // a lab that ends just now leaves st as it is
	st.Pid, st.UptimeMS = p.Pid, time.Since(st.Started).Milliseconds()
	return st
}

// Log is the path of a lab's log, or of a guest's console when guest is not empty.
func (s *Store) Log(name, guest string) (string, error) {
	f := s.folder(name)
	if _, err := os.Stat(string(f)); err != nil {
		return "", fmt.Errorf("find log of %s: %w", name, ErrUnknown)
	}
	path := f.path("lab.log")
	if guest != "" {
		path = f.path("out", guest, "console.log")
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("find log of %s/%s: %w", name, guest, err)
	}
	return path, nil
}

// Sweep removes the folders of labs whose process is gone and the claims that nobody holds, and names what it removed.
// Everything else a lab had went with its process, so a second sweep finds nothing.
func (s *Store) Sweep() ([]string, error) {
	names, err := s.names()
	if err != nil {
		return nil, err
	}
	swept := []string{}
	var errs []error
	for _, name := range names {
		gone, err := s.sweep(name)
		if gone {
			swept = append(swept, name)
		}
		errs = append(errs, err)
	}
	errs = append(errs, s.sweepClaims())
	return swept, errors.Join(errs...)
}

func (s *Store) sweep(name string) (bool, error) {
	claim, err := s.claim(name)
	if err != nil {
		return false, nil // somebody is busy with it
	}
	f := s.folder(name)
	if f.alive() {
		return false, claim.Release()
	}
	if err := os.RemoveAll(string(f)); err != nil {
		return false, errors.Join(err, claim.Release())
	}
	return true, claim.Remove()
}

// sweepClaims removes lock files of labs that have no folder.
func (s *Store) sweepClaims() error {
	claims, err := filepath.Glob(filepath.Join(s.dir, "*.up"))
	if err != nil {
		return err
	}
	for _, path := range claims {
		name := strings.TrimSuffix(filepath.Base(path), ".up")
		if _, err := os.Stat(string(s.folder(name))); err == nil {
			continue
		}
		if claim, err := s.claim(name); err == nil {
			claim.Remove()
		}
	}
	return nil
}
