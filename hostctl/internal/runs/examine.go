package runs

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"picolab/hostctl/internal/place"
	"picolab/hostctl/internal/probe"
	"picolab/hostctl/internal/sandbox"
	"picolab/hostctl/report"
	"picolab/images/manifest"
)

// probeEntry is the sandbox entry that probes what it is told, or everything.
const probeEntry = "probe"

func init() {
	sandbox.Register(probeEntry, func(ctx context.Context, payload []byte) int {
		var names []string
		err := json.Unmarshal(payload, &names)
		if err == nil {
			err = json.NewEncoder(os.Stdout).Encode(probeSome(ctx, names))
		}
		if err != nil {
			return report.ExitError
		}
		return 0
	})
}

func probeSome(ctx context.Context, names []string) []probe.Probe {
	o := probe.Options{Cache: place.InsideCache, Disk: place.InsideCache}
	if names == nil {
		return probe.All(ctx, o)
	}
	return probe.Some(ctx, o, names...)
}

// Examine probes everything inside a sandbox of this machine. When there can be none, that is the one answer.
func Examine(ctx context.Context, p place.Place, stderr io.Writer) ([]probe.Probe, error) {
	if _, err := p.HostRoot(); err != nil {
		return []probe.Probe{{Name: probe.QEMU, Evidence: err.Error(), Remedy: "labimage build host -o " + p.Images + "/host"}}, nil
	}
	inside, err := ask(ctx, p, nil, stderr)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return []probe.Probe{{Name: probe.Sandbox, Evidence: err.Error(),
			Remedy: "allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0), or run as root"}}, nil
	}
	return append([]probe.Probe{{Name: probe.Sandbox, OK: true, Evidence: sandboxEvidence()}}, inside...), nil
}

// ask probes names, or everything when they are nil, inside a sandbox.
func ask(ctx context.Context, p place.Place, names []string, stderr io.Writer) ([]probe.Probe, error) {
	spec, err := p.Sandbox(probeEntry, names)
	if err != nil {
		return nil, err
	}
	var answers []probe.Probe
	err = answer(ctx, spec, &answers, stderr)
	return answers, err
}

// answer runs a sandbox that prints answers as JSON.
func answer(ctx context.Context, spec sandbox.Spec, answers *[]probe.Probe, stderr io.Writer) error {
	var out strings.Builder
	spec.Stdout, spec.Stderr = &out, stderr
	box, err := sandbox.Start(ctx, spec)
	if err != nil {
		return err
	}
	code, err := box.Wait()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return err
	case code != 0:
		return fmt.Errorf("the sandbox ended with code %d", code)
	}
	if err := json.Unmarshal([]byte(out.String()), answers); err != nil {
		return fmt.Errorf("read the probes' answers: %w", err)
	}
	return nil
}

func sandboxEvidence() string {
	if os.Geteuid() == 0 {
		return "PID, network, mount, UTS and IPC namespaces as root"
	}
	return "user, PID, network, mount, UTS and IPC namespaces as an ordinary user"
}

// factsOf turns answers into a run's facts.
func factsOf(answers []probe.Probe) []report.Fact {
	var facts []report.Fact
	for _, p := range answers {
		facts = append(facts, report.Fact{Name: p.Name, OK: p.OK, Evidence: p.Evidence, Remedy: p.Remedy})
	}
	return facts
}

// byName indexes facts.
func byName(facts []report.Fact) map[string]report.Fact {
	m := map[string]report.Fact{}
	for _, f := range facts {
		m[f.Name] = f
	}
	return m
}

// Doctor probes everything on a host. For the container, what else there is to run on is answered too, without trying it:
// booting takes its time.
func Doctor(ctx context.Context, h Host, p place.Place, accel string, stderr io.Writer) ([]probe.Probe, error) {
	switch h.Kind {
	case Metal:
		return ExamineMetal(ctx, h.PC)
	case VM:
		return examineVM(ctx, p, accel, stderr)
	}
	answers, err := Examine(ctx, p, stderr)
	return append(answers, hostModes(p)...), err
}

// examineVM boots the host image in a sandbox and has it answer.
func examineVM(ctx context.Context, p place.Place, accel string, stderr io.Writer) ([]probe.Probe, error) {
	spec, err := p.Sandbox(vmDoctorEntry, accel)
	if err != nil {
		return nil, err
	}
	var answers []probe.Probe
	if err := answer(ctx, spec, &answers, stderr); err != nil {
		return nil, fmt.Errorf("examine host vm: %w", err)
	}
	return answers, nil
}

// hostModes says what the other hosts want.
func hostModes(p place.Place) []probe.Probe {
	vm := probe.Probe{Name: probe.HostVM, OK: true, Optional: true, Evidence: "the host image has a kernel and a root file to boot (hostctl doctor --host vm tries it)"}
	m, err := manifest.Read(filepath.Join(p.Images, "host"))
	if err == nil {
		err = place.Bootable(m)
	}
	if err != nil {
		vm.OK, vm.Evidence, vm.Remedy = false, err.Error(), "labimage build host -o "+p.Images+"/host"
	}
	metal := probe.Probe{Name: probe.HostMetal, Optional: true, OK: true, Evidence: "ssh is there (hostctl doctor --host metal=ssh://user@pc asks a PC)"}
	if path, err := exec.LookPath("ssh"); err != nil {
		metal.OK, metal.Evidence, metal.Remedy = false, err.Error(), "install an SSH client"
	} else {
		metal.Evidence = path + metal.Evidence[len("ssh"):]
	}
	return []probe.Probe{vm, metal}
}
