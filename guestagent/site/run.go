package site

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// runsFolder is where results are while a run makes them, in RAM, below the root.
const runsFolder = "run/picolab/results"

// wanted is the selection to run at boot, nil for none. The kernel argument asks for a run whatever the stick says; what
// is run the stick may narrow.
func (s *Site) wanted() (*Autorun, error) {
	switch s.o.Run {
	case "off":
		return nil, nil
	case "":
		return s.autorun, nil
	case "quick", "full":
		a := Autorun{}
		if s.autorun != nil {
			a = *s.autorun
		}
		if a.Profile == "" {
			a.Profile = s.o.Run
		}
		return &a, nil
	}
	return nil, fmt.Errorf("kernel argument picolab.run=%s: it can be quick, full or off", s.o.Run)
}

// run runs the selection, shows it on the console and keeps the results.
func (s *Site) run(ctx context.Context) {
	a, err := s.wanted()
	if err != nil {
		s.o.Logf("autorun: %v", err)
	}
	if a == nil {
		return
	}
	dir, err := s.runOnce(ctx, a)
	if err != nil {
		s.o.Logf("autorun: %v", err)
	}
	s.keep(dir)
	if a.Then == "poweroff" && s.o.Power != nil && ctx.Err() == nil {
		s.o.Logf("autorun: powering off, as the stick asks for")
		if err := s.o.Power(ctx, "off"); err != nil {
			s.o.Logf("autorun: %v", err)
		}
	}
}

// runOnce runs hostctl and returns the folder with what it left; a bad verdict is an error that says the exit code.
func (s *Site) runOnce(ctx context.Context, a *Autorun) (dir string, err error) {
	name := fmt.Sprintf("%03d", nextNumber(s.path(runsFolder), s.resultsDir()))
	dir = filepath.Join(s.path(runsFolder), name)
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return dir, err
	}
	argv := a.command(dir)
	hostctl, err := exec.LookPath(argv[0])
	if err != nil {
		return dir, err
	}
	s.o.Logf("autorun: %s", strings.Join(argv, " "))
	err = s.command(ctx, s.o.Console, hostctl, argv[1:]...)
	var exit *exitError
	if err == nil || errors.As(err, &exit) && exit.status.Exited() {
		s.o.Logf("autorun: finished, %s", verdict(exit))
		return dir, nil
	}
	return dir, err
}

// verdict says what hostctl's exit code stands for.
func verdict(e *exitError) string {
	if e == nil {
		return "all is well (exit code 0)"
	}
	code := e.status.ExitStatus()
	words := map[int]string{1: "something under test failed", 2: "the selection is wrong", 3: "the laboratory failed",
		4: "nothing was selected", 130: "interrupted"}[code]
	return strings.TrimPrefix(fmt.Sprintf("%s (exit code %d)", words, code), " ")
}

// keep copies the results to the stick and says where they are.
func (s *Site) keep(dir string) {
	if _, err := os.Stat(dir); err != nil {
		s.o.Logf("results: the run left none")
		return
	}
	if s.o.Stick == "" {
		s.o.Logf("results: in %s, in RAM: this machine was not started from a stick", dir)
		return
	}
	name, err := s.Save(dir)
	if err != nil {
		s.o.Logf("results: not on the stick: %v; they stay in %s, in RAM", err, dir)
		return
	}
	s.o.Logf("results: written to the stick as /%s", name)
}
