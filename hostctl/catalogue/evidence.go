package catalogue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"picolab/hostctl/internal/oops"
	"picolab/hostctl/lab"
	"picolab/hostctl/report"
)

// marks is how far the growing logs of a lab were when an instance began.
type marks struct {
	sizes    map[string]int64 // bytes of each log, by its path
	findings map[string]int   // of each guest
}

func mark(b Booted) marks {
	m := marks{sizes: map[string]int64{}, findings: map[string]int{}}
	for _, vm := range b.Machines() {
		m.findings[vm.Name()] = len(vm.Findings())
		for _, path := range vm.Logs() {
			if fi, err := os.Stat(path); err == nil {
				m.sizes[path] = fi.Size()
			}
		}
	}
	return m
}

// collect puts each guest's console, QMP log, kernel log and command line in
// the instance's folder, and returns what its kernel said that is bad.
func (tr *trial) collect(ctx context.Context) []Finding {
	var all []Finding
	for _, vm := range tr.s.lab.Machines() {
		name := vm.Name()
		tr.awaitReport(vm)
		tr.saveText(name+".argv.txt", strings.Join(vm.Argv(), "\n")+"\n")
		kernel := tr.kernelLog(ctx, vm)
		for _, log := range sortedKeys(vm.Logs()) {
			path := vm.Logs()[log]
			if err := tail(path, tr.marks.sizes[path], tr.t.File(name+"."+log)); err != nil {
				tr.t.Logf("keep %s of guest %s: %v", log, name, err)
			}
		}
		seen := vm.Findings()
		seen = seen[min(tr.marks.findings[name], len(seen)):]
		all = append(all, merge(seen, kernel)...)
	}
	return all
}

// awaitReport gives the console of a guest that died the time to say why: QEMU's
// own event comes first and tells nothing.
func (tr *trial) awaitReport(vm Machine) {
	fatal := func(f Finding) bool { return f.Fatal && !f.Ours }
	told := func(f Finding) bool { return f.Fatal && f.Text != "" }
	if slices.ContainsFunc(vm.Findings(), fatal) {
		tr.t.Poll(lab.WaitEvent, func() bool { return slices.ContainsFunc(vm.Findings(), told) })
	}
	// The agent's connection may break a moment before QEMU is seen to have ended.
	if v, _ := tr.t.conclude(nil); v == report.Error && tr.t.answering(vm.Name()) && !tr.t.Guest(vm.Name()).answers() {
		tr.t.Poll(lab.WaitOops, func() bool { return len(vm.Findings()) > tr.marks.findings[vm.Name()] })
	}
}

// kernelLog keeps the guest's kernel log and returns what is bad in the part
// that is new.  The console has only what its log level lets through; a WARNING
// with its call trace is not in it.
func (tr *trial) kernelLog(ctx context.Context, vm Machine) []Finding {
	if vm.Agent() == nil || !tr.t.answering(vm.Name()) {
		return nil
	}
	var lines []string
	err := vm.Agent().Dmesg(ctx, false, func(line string) { lines = append(lines, line) })
	if err != nil {
		tr.t.Logf("kernel log of guest %s: %v", vm.Name(), err)
	}
	tr.saveText(vm.Name()+".dmesg", strings.Join(lines, "\n")+"\n")
	fresh := after(lines, tr.s.clean.dmesg[vm.Name()])
	if len(fresh) > 0 {
		tr.s.clean.dmesg[vm.Name()] = fresh[len(fresh)-1]
	}
	return scan(vm.Name(), fresh)
}

// after returns the lines behind the last that equals mark; all when there is
// none, because the kernel's buffer has gone round.  Lines carry their time.
func after(lines []string, mark string) []string {
	for i, l := range slices.Backward(lines) {
		if l == mark {
			return lines[i+1:]
		}
	}
	return lines
}

// scan returns what is bad in lines of a kernel log.
func scan(guest string, lines []string) []Finding {
	var found []Finding
	for _, f := range oops.Scan([]byte(strings.Join(lines, "\n") + "\n")) {
		found = append(found, finding(guest, f))
	}
	return found
}

// merge joins findings of the console and of the kernel log, which tell the same
// story twice when the console's log level is low.
func merge(console, kernel []Finding) []Finding {
	all := console
	for _, k := range kernel {
		if !tells(all, k.Title) {
			all = append(all, k)
		}
	}
	return all
}

func tells(all []Finding, title string) bool {
	for _, f := range all {
		if f.Title == title {
			return true
		}
	}
	return false
}

// tail copies a file from an offset on.
func tail(from string, offset int64, to string) (err error) {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.Create(to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	if _, err := src.Seek(offset, io.SeekStart); err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	return err
}

func (tr *trial) saveText(name, text string) { tr.t.keepText(name, text) }

// keepText makes an evidence file; that it cannot is noted.
func (t *T) keepText(name, text string) {
	if err := os.WriteFile(t.File(name), []byte(text), 0o644); err != nil {
		t.Logf("keep %s: %v", name, err)
	}
}

// create makes an evidence file of the instance, or ends it: a full disk is not
// the guest's fault.
func (t *T) create(name string) *os.File {
	f, err := os.Create(t.File(name))
	if err != nil {
		t.stop(report.Error, fmt.Sprintf("make evidence: %v", err))
	}
	return f
}
