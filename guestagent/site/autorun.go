package site

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Autorun is the file autorun, a selection of the catalogue with hostctl's options:
//
//	cases: [vnic.link-status-on, 'vhostnet.*']   # default: all
//	set: [nic=e1000]
//	profile: full                                # default: quick
//	accel: tcg                                   # default: auto
//	fail-fast: true
//	then: poweroff                               # default: nothing
type Autorun struct {
	Cases    []string `yaml:"cases"`
	Set      []string `yaml:"set"`
	Profile  string   `yaml:"profile"`
	Accel    string   `yaml:"accel"`
	FailFast bool     `yaml:"fail-fast"`
	Then     string   `yaml:"then"`
}

// ParseAutorun reads an autorun file; an empty one is the quick catalogue. Whether there are such cases is for hostctl to say.
func ParseAutorun(data []byte) (*Autorun, error) {
	a := new(Autorun)
	t, err := decode("autorun", data, a)
	if err == nil {
		err = a.check(t)
	}
	if err != nil {
		return nil, err
	}
	return a, nil
}

func (a *Autorun) check(t text) error {
	var errs []error
	for _, f := range []struct {
		name, value string
		may         []string
	}{
		{"profile", a.Profile, []string{"", "quick", "full"}}, {"accel", a.Accel, []string{"", "auto", "kvm", "tcg"}},
		{"then", a.Then, []string{"", "nothing", "poweroff"}},
	} {
		if !slices.Contains(f.may, f.value) {
			errs = append(errs, t.fault(fmt.Errorf("%q is none of %s", f.value, strings.Join(f.may[1:], ", ")), f.name))
		}
	}
	return errors.Join(append(errs, selectors(t, "cases", a.Cases), selectors(t, "set", a.Set))...)
}

// selectors refuses words that hostctl would take for options.
func selectors(t text, name string, words []string) error {
	var errs []error
	for i, w := range words {
		if w == "" || w[0] == '-' {
			errs = append(errs, t.fault(fmt.Errorf("%q is no selector", w), name, i))
		}
	}
	return errors.Join(errs...)
}

// command is the argument vector that runs the selection and leaves its results in dir.
func (a *Autorun) command(dir string) []string {
	argv := []string{"hostctl", "run"}
	argv = append(argv, a.Cases...)
	for _, s := range a.Set {
		argv = append(argv, "--set", s)
	}
	for _, f := range [][2]string{{"--profile", a.Profile}, {"--accel", a.Accel}} {
		if f[1] != "" {
			argv = append(argv, f[0], f[1])
		}
	}
	if a.FailFast {
		argv = append(argv, "--fail-fast")
	}
	return append(argv, "-o", dir)
}
