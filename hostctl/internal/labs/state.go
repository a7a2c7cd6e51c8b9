package labs

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"picolab/hostctl/lab"
)

// Phases of a lab.
const (
	Starting = "starting"
	Up       = "up"
	Dead     = "dead" // its process is gone and left the folder behind
)

// A State is what `hostctl ps` shows.
type State struct {
	Name     string    `json:"name"`
	Phase    string    `json:"state"`
	Pid      int       `json:"pid"`
	Started  time.Time `json:"started"`
	UptimeMS int64     `json:"uptime_ms"`
	Accel    string    `json:"accel,omitempty"`
	Guests   []Guest   `json:"guests"`
	Links    []Link    `json:"links"`
}

// A Guest of a State.
type Guest struct {
	Name     string    `json:"name"`
	State    lab.State `json:"state"`
	Image    string    `json:"image"`
	BootMS   int64     `json:"boot_ms,omitempty"`
	NICs     []NIC     `json:"nics"`
	Findings []string  `json:"findings,omitempty"`
}

// A NIC of a Guest.
type NIC struct {
	Model   string `json:"model"`
	MAC     string `json:"mac"`
	Link    string `json:"link,omitempty"`
	Address string `json:"address,omitempty"` // planned
}

// A Link of a State.
type Link struct {
	Name   string `json:"name"`
	Bridge string `json:"bridge"`
	Host   string `json:"host,omitempty"`
	MTU    int    `json:"mtu"`
}

// snapshot describes a running lab.
func snapshot(l *lab.Lab, phase string) State {
	s := State{Name: l.Spec().Name, Phase: phase, Started: l.Started(), Accel: l.Accel(), Guests: []Guest{}, Links: []Link{}}
	for _, v := range l.Guests() {
		g := Guest{Name: v.Name(), State: v.State(), BootMS: v.BootTime().Milliseconds(), NICs: []NIC{}}
		if m := v.Image(); m != nil {
			g.Image = m.ID
		}
		for i, n := range v.Spec().NICs {
			nic := NIC{Model: n.Model, MAC: n.MAC, Link: n.Link}
			if a := v.Addr(i); a.IsValid() {
				nic.Address = a.String()
			}
			g.NICs = append(g.NICs, nic)
		}
		for _, f := range v.Findings() {
			g.Findings = append(g.Findings, fmt.Sprintf("%s: %s", f.Kind, f.Title))
		}
		s.Guests = append(s.Guests, g)
	}
	for _, n := range l.Links() {
		link := Link{Name: n.Name(), Bridge: n.Bridge(), MTU: n.MTU()}
		if n.Host().IsValid() {
			link.Host = n.Host().String()
		}
		s.Links = append(s.Links, link)
	}
	return s
}

// writeJSON replaces the file at path in one step.
func writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(append(data, '\n'))
	f.Close()
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

func readJSON(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}

// process names a process for good: its id may be given to another one later, the start time tells them apart.
type process struct {
	Pid   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks since the machine's boot
}

func processOf(pid int) (process, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, err
	}
	// The second field is a name in parentheses that may hold anything; the 22nd is the start time (proc_pid_stat(5)).
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	if len(fields) < 20 {
		return process{}, fmt.Errorf("read stat of process %d: %d fields", pid, len(fields))
	}
	if fields[0] == "Z" { // ended, and only its parent has not noticed
		return process{}, fmt.Errorf("process %d has ended", pid)
	}
	start, err := strconv.ParseUint(fields[19], 10, 64)
	return process{pid, start}, err
}

// same says whether the process is still there.
func (p process) same() bool {
	now, err := processOf(p.Pid)
	return err == nil && now == p
}
