package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"picolab/hostctl/internal/place"
	"picolab/hostctl/internal/probe"
	"picolab/hostctl/internal/sandbox"
)

type doctorOptions struct {
	images string
	json   bool
}

func doctorCmd(e *Env) *cobra.Command {
	var o doctorOptions
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this machine can do, with the evidence and the remedy",
		Long: `Every answer comes from trying: a tiny guest is booted under KVM, a tap is made,
a huge page is touched. The names are those of catalogue cases' needs. The exit
code is 3 when something that every lab needs is missing.`,
		Example: "  hostctl doctor\n  hostctl doctor --json | jq '.[] | select(.ok | not)'",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return doctor(cmd.Context(), e, o) },
	}
	imagesFlag(cmd, &o.images)
	cmd.Flags().BoolVar(&o.json, "json", false, "print an array of {name, ok, optional, evidence, remedy}")
	return cmd
}

func imagesFlag(cmd *cobra.Command, p *string) {
	cmd.Flags().StringVar(p, "images", "", "folder with the images guest and host (default $PICOLAB_IMAGES, else "+place.DefaultImages+")")
}

// insideDoctor is the sandbox entry that probes.
const insideDoctor = "doctor"

func init() {
	sandbox.Register(insideDoctor, func(ctx context.Context, _ []byte) int {
		if err := json.NewEncoder(os.Stdout).Encode(probe.All(ctx, probe.Options{Cache: place.InsideCache, Disk: place.InsideCache})); err != nil {
			return exitInfra
		}
		return 0
	})
}

func doctor(ctx context.Context, e *Env, o doctorOptions) error {
	p, err := place.New(o.images)
	if err != nil {
		return err
	}
	answers, err := examine(ctx, e, p)
	if err != nil {
		return err
	}
	if o.json {
		enc := json.NewEncoder(e.Stdout)
		enc.SetIndent("", "  ")
		err = enc.Encode(answers)
	} else {
		err = printProbes(e.Stdout, answers)
	}
	if err != nil {
		return err
	}
	for _, a := range answers {
		if !a.OK && !a.Optional {
			return &exitError{exitInfra, fmt.Errorf("labs cannot run here: %s", a.Name)}
		}
	}
	return nil
}

// examine probes inside a sandbox. When there can be none, that is the one answer.
func examine(ctx context.Context, e *Env, p place.Place) ([]probe.Probe, error) {
	var out strings.Builder
	spec, err := p.Sandbox(insideDoctor, nil)
	if err != nil {
		return []probe.Probe{{Name: probe.QEMU, Evidence: err.Error(), Remedy: "labimage build host -o " + p.Images + "/host"}}, nil
	}
	spec.Stdout, spec.Stderr = &out, e.Stderr
	box, err := sandbox.Start(ctx, spec)
	if err == nil {
		_, err = box.Wait()
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return []probe.Probe{{Name: probe.Sandbox, Evidence: err.Error(),
			Remedy: "allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0), or run as root"}}, nil
	}
	answers := []probe.Probe{{Name: probe.Sandbox, OK: true, Evidence: sandboxEvidence()}}
	var inside []probe.Probe
	if err := json.Unmarshal([]byte(out.String()), &inside); err != nil {
		return nil, fmt.Errorf("read the probes' answers: %w", err)
	}
	return append(answers, inside...), nil
}

func sandboxEvidence() string {
	if os.Geteuid() == 0 {
		return "PID, network, mount, UTS and IPC namespaces as root"
	}
	return "user, PID, network, mount, UTS and IPC namespaces as an ordinary user"
}

func printProbes(w io.Writer, answers []probe.Probe) error {
	for _, a := range answers {
		mark := "ok  "
		if !a.OK && a.Optional {
			mark = "no  "
		} else if !a.OK {
			mark = "FAIL"
		}
		if _, err := fmt.Fprintf(w, "%s  %-12s %s\n", mark, a.Name, oneLine(a.Evidence)); err != nil {
			return err
		}
		if a.Remedy != "" {
			fmt.Fprintf(w, "      %-12s -> %s\n", "", a.Remedy)
		}
	}
	return nil
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
