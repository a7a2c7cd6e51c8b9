package catalogue

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// vhostNet is what QEMU has open for every card with vhost=on, and for no other
// reason.
const vhostNet = "/dev/vhost-net"

// devices leaves in the record which device files each guest's QEMU has open,
// and checks those that the topology asks for: vhost=on that quietly fell back
// to QEMU's own device would test something else.
func (tr *trial) devices() {
	for _, m := range tr.s.lab.Machines() {
		open := m.Devices()
		tr.saveText(m.Name()+".devices.txt", strings.Join(open, "\n")+"\n")
		if !wantsVhost(tr.s.top, m.Name()) {
			continue
		}
		tr.t.Check("guest "+m.Name()+": device files that its QEMU has open", "with "+vhostNet, strings.Join(open, " "),
			slices.Contains(open, vhostNet), m.Name()+".devices.txt")
	}
}

// wantsVhost says whether a guest of a topology has a card with vhost=on.
func wantsVhost(top Topology, guest string) bool {
	on := func(n NIC) bool { return n.Vhost == "on" }
	return slices.ContainsFunc(top.Guests, func(g Guest) bool { return g.Name == guest && slices.ContainsFunc(g.NICs, on) })
}

// openDevices lists what a process has open below /dev, each once, sorted
// (proc_pid_fd(5)). One that is gone, or another user's, has none.
func openDevices(pid int) []string {
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid)) // the pattern is well-formed
	var open []string
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil && strings.HasPrefix(to, "/dev/") {
			open = append(open, to)
		}
	}
	slices.Sort(open)
	return slices.Compact(open)
}
