package switchboard

import (
	"errors"
	"fmt"

	"picolab/hostctl/vale"
	"picolab/hostctl/vale/ctl"
	"picolab/hostctl/vhostuser"
)

// Board is a vale.Set whose ports are described by texts. It is what package ctl works.
type Board struct {
	Switches vale.Set
	Options  vhostuser.Options // of ports for guests
}

// Attach opens the port that a text describes and adds it under its full name; see Open.
func (b *Board) Attach(name, port string) error {
	if _, _, err := vale.Split(name); err != nil {
		return err
	}
	p, err := Open(port, b.Options)
	if err != nil {
		return err
	}
	if err := b.Switches.Attach(name, p); err != nil {
		return errors.Join(err, p.Close())
	}
	return nil
}

// Detach removes a port by its full name.
func (b *Board) Detach(name string) error { return b.Switches.Detach(name) }

// Status returns the state of all switches.
func (b *Board) Status() []ctl.Status {
	all := []ctl.Status{} // JSON's null is no array
	for _, name := range b.Switches.Names() {
		if s := b.Switches.Switch(name); s != nil {
			all = append(all, ctl.Status{Name: name, Stats: s.Stats()})
		}
	}
	return all
}

// Set changes a port by its full name.
func (b *Board) Set(name string, settings ctl.Settings) error {
	sw, port, err := vale.Split(name)
	if err != nil {
		return err
	}
	s := b.Switches.Switch(sw)
	if s == nil {
		return fmt.Errorf("change port %s: %w", name, vale.ErrUnknown)
	}
	if settings.Up != nil {
		err = s.SetLink(port, *settings.Up)
	}
	if settings.Rate != nil && err == nil {
		err = s.SetRate(port, *settings.Rate, settings.Burst)
	}
	if settings.Faults != nil && err == nil {
		err = s.SetFaults(port, *settings.Faults)
	}
	return err
}
