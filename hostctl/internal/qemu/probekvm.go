package qemu

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"picolab/hostctl/internal/proc"
)

// probeCode is rom/probe.S, assembled.
//
//go:embed rom/probe.bin
var probeCode []byte

// Layout of the -bios image: QEMU maps its end to 4 GiB, where x86 starts 16 bytes before the end.
const (
	romSize   = 64 << 10
	romCode   = 0xfe00
	romReset  = 0xfff0
	probeExit = 0x2a<<1 | 1 // isa-debug-exit turns a value v written to it into status v<<1|1
	probeMark = "RPLK"      // one letter a stage: real mode, protected mode, long mode, computation right
)

// KVMDeadline: a working KVM needs 0.1 s. Short enough that the answer is there within 5 s on a busy machine. Inside an
// emulated machine everything takes ten times as long, QEMU's start most of all.
const KVMDeadline = 3 * time.Second

// ProbeKVM boots a tiny guest under KVM and says whether it ran, with the evidence. /dev/kvm being there, and KVM_CREATE_VM
// working, does not mean that a guest runs. limit is the guest's time. binary is an argument prefix, DefaultBinary when none.
func ProbeKVM(ctx context.Context, limit time.Duration, binary ...string) (ok bool, evidence string) {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return false, err.Error()
	}
	f.Close()
	return probeAccel(ctx, "kvm", limit, prefix(binary))
}

// probeAccel runs the probe guest under any accelerator; under tcg it proves the guest itself.
func probeAccel(ctx context.Context, accel string, limit time.Duration, binary []string) (bool, string) {
	dir, err := os.MkdirTemp("", "picolab-probe-")
	if err != nil {
		return false, err.Error()
	}
	defer os.RemoveAll(dir)
	rom := filepath.Join(dir, "rom")
	if err := os.WriteFile(rom, probeROM(), 0o600); err != nil {
		return false, err.Error()
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	out := &probeOutput{stop: cancel}
	argv := append(binary, probeArgs(accel, rom)...)
	start := time.Now()
	err = proc.Run(ctx, proc.Cmd{
		Path: argv[0], Args: argv[1:], Stdout: &out.guest, Stderr: out, Grace: 100 * time.Millisecond,
		Dir: dir, // QEMU aborts on some hosts, and its core goes with the folder
	})
	return out.verdict(accel, err, time.Since(start))
}

func probeArgs(accel, rom string) []string {
	args := []string{"-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35", "-accel", accel}
	if accel == "kvm" {
		args = append(args, "-cpu", "host") // what labs use
	}
	return append(args, "-m", "16", "-no-reboot", "-bios", rom,
		"-chardev", "stdio,id=out,signal=off", "-device", "isa-debugcon,chardev=out,iobase=0x402",
		"-device", "isa-debug-exit,iobase=0xf4,iosize=4")
}

// probeROM is the guest: its code and, at the reset vector, a near jump to it.
func probeROM() []byte {
	rom := bytes.Repeat([]byte{0xf4}, romSize) // hlt
	copy(rom[romCode:romReset], probeCode)
	rom[romReset] = 0xe9
	jump := romCode - (romReset + 3)
	binary.LittleEndian.PutUint16(rom[romReset+1:], uint16(jump))
	return rom
}

// probeOutput gathers what QEMU says and ends it at the first sure sign of failure: after an internal error of KVM it
// would sit there, paused.
type probeOutput struct {
	guest bytes.Buffer // copied by os/exec; read after the end
	mu    sync.Mutex
	err   bytes.Buffer
	stop  func()
}

func (o *probeOutput) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err.Write(p)
	if bytes.Contains(o.err.Bytes(), []byte("KVM internal error")) {
		o.stop()
	}
	return len(p), nil
}

// verdict judges by what the guest wrote and by QEMU's exit status; QEMU exits with 0 when it is told to stop.
func (o *probeOutput) verdict(accel string, err error, took time.Duration) (bool, string) {
	said, status := o.guest.String(), 0
	var x *proc.ExitError
	if errors.As(err, &x) {
		status = x.Code
	} else if err != nil {
		return false, err.Error()
	}
	took = took.Round(time.Millisecond)
	if status == probeExit && said == probeMark {
		return true, fmt.Sprintf("%s: probe guest ran real, protected and long mode and wrote %q in %v", accel, said, took)
	}
	return false, fmt.Sprintf("%s: probe guest wrote %q, not %q, in %v; %s", accel, said, probeMark, took, o.reason(status))
}

// reason is the line of QEMU's that says most.
func (o *probeOutput) reason(status int) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	for line := range strings.Lines(o.err.String()) {
		if strings.Contains(line, "KVM internal error") || strings.Contains(line, "error:") || strings.Contains(line, "failed") {
			return "QEMU: " + strings.TrimSpace(line)
		}
	}
	if status == 0 {
		return "it did not end by itself"
	}
	return fmt.Sprintf("QEMU ended with status %d: %q", status, o.err.String())
}
