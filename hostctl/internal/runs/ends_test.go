package runs

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"picolab/hostctl/catalogue"
	"picolab/hostctl/report"
)

// endsEntry is the sandbox entry of a run whose guests come to bad ends.
const endsEntry = "run-ends"

// badEnds are three ends in the middle of a case: of the guest's kernel, of the guest's processor, of QEMU.
func badEnds() (*catalogue.Set, error) {
	set, err := Catalogue()
	if err != nil {
		return nil, err
	}
	return catalogue.NewSet([]*catalogue.Case{
		spoil(*set.Case("vnic.driver-info"), func(t *catalogue.T) { t.Guest("a").Power("crash") }),
		spoil(*set.Case("vnic.features-default"), hang),
		spoil(*set.Case("vnic.link-status-on"), killQEMU),
	})
}

// spoil does something to the guest when the case is done, and asks the guest on.
func spoil(c catalogue.Case, how func(*catalogue.T)) *catalogue.Case {
	run := c.Run
	c.Run = func(t *catalogue.T) {
		run(t)
		how(t)
		t.Poll("event", func() bool { return t.Guest("a").Links() == nil })
	}
	return &c
}

// TestBadEnds shows on real guests that a kernel that panics, a guest that hangs and a QEMU that is killed are told apart, each
// with what shows it.
func TestBadEnds(t *testing.T) {
	t.Parallel()
	o := real(t)
	o.cases, o.entry = badEnds, endsEntry
	out, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	needTap(t, out)
	want := map[string]badEnd{
		"vnic.driver-info":      {report.Fail, "Kernel panic - not syncing: ", "a.console.log", "Kernel panic - not syncing: "},
		"vnic.features-default": {report.Fail, "guest a hangs: list links: no answer", "a.hang.txt", "HLT=1"},
		"vnic.link-status-on":   {report.Error, "guest a: QEMU ended by itself: ", "a.qmp.log", "set_link"},
	}
	for _, r := range out.Results {
		want[r.Case].check(t, o.Dir, r)
		delete(want, r.Case)
	}
	if len(want) > 0 {
		t.Errorf("no result for %v", want)
	}
}

// badEnd is what a result says of one, and a file of its evidence with what that has.
type badEnd struct {
	verdict              report.Verdict
	reason, file, inside string
}

func (b badEnd) check(t *testing.T, dir string, r report.Result) {
	t.Helper()
	if r.Result != b.verdict || !strings.Contains(r.Reason, b.reason) {
		t.Errorf("%s: %s: %s; want %s with %q", r.Instance, r.Result, r.Reason, b.verdict, b.reason)
	}
	named := func(f string) bool { return filepath.Base(f) == b.file }
	i := slices.IndexFunc(r.Evidence, named)
	if i < 0 {
		t.Errorf("%s: no %s in %v", r.Instance, b.file, r.Evidence)
		return
	}
	data, err := os.ReadFile(filepath.Join(dir, r.Evidence[i]))
	if err != nil || !strings.Contains(string(data), b.inside) {
		t.Errorf("%s: no %q in %s, %v:\n%s", r.Instance, b.inside, b.file, err, data)
	}
}

// killQEMU kills the one QEMU that this sandbox has; its processes are no others'.
func killQEMU(t *catalogue.T) {
	names, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, name := range names {
		if b, err := os.ReadFile(name); err != nil || !strings.HasPrefix(string(b), "qemu-system") {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		p, err := os.FindProcess(pid)
		if err == nil {
			err = p.Kill()
		}
		if err != nil {
			t.Errorf("kill QEMU: %v", err)
		}
	}
}

// hang makes the guest's processor wait, for ever and without interrupts, in the middle of its kernel: QEMU's gdb stub writes
// the instructions where the processor is. A processor that is in a program is let go on and stopped again.
func hang(t *catalogue.T) {
	const socket = "/tmp/gdb"
	t.Guest("a").QMP("human-monitor-command", catalogue.Args{"command-line": "gdbserver unix:" + socket + ",server=on,wait=off"}, nil)
	for range 50 {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			t.Errorf("gdb stub: %v", err)
		}
		done, err := plant(gdb{conn, bufio.NewReader(conn)})
		conn.Close()
		if err != nil {
			t.Errorf("gdb stub: %v", err)
		}
		if done {
			return
		}
	}
	t.Errorf("the guest never is in its kernel")
}

// plant writes cli; hlt; jmp to the first of them, if the processor is in the kernel, and lets it go on.
func plant(g gdb) (done bool, err error) {
	const ripRegister = "p10" // the 17th of amd64 in GDB's org.gnu.gdb.i386.core
	text, err := g.ask(ripRegister)
	if err != nil {
		return false, err
	}
	rip, err := hex.DecodeString(text)
	if err != nil || len(rip) != 8 {
		return false, fmt.Errorf("register %q", text)
	}
	slices.Reverse(rip)
	if kernel := rip[0] == 0xff; kernel {
		if _, err = g.ask("M" + hex.EncodeToString(rip) + ",4:faf4ebfc"); err != nil {
			return false, err
		}
		done = true
	}
	_, err = g.ask("D")
	return done, err
}

// gdb is a connection to a gdb stub (GDB's manual, appendix E, "Remote Protocol").
type gdb struct {
	net.Conn
	in *bufio.Reader
}

// ask sends a packet and returns the answer to it.
func (g gdb) ask(packet string) (string, error) {
	sum := byte(0)
	for _, b := range []byte(packet) {
		sum += b
	}
	if _, err := fmt.Fprintf(g, "+$%s#%02x", packet, sum); err != nil {
		return "", err
	}
	for {
		if _, err := g.in.ReadString('$'); err != nil {
			return "", err
		}
		answer, err := g.in.ReadString('#')
		answer = strings.TrimSuffix(answer, "#")
		if err != nil || !strings.HasPrefix(answer, "T") && !strings.HasPrefix(answer, "S") { // of a stop
			return answer, err
		}
	}
}
