package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"picolab/hostctl/internal/place"
	"picolab/hostctl/internal/probe"
	"picolab/hostctl/internal/runs"
	"picolab/hostctl/lab"
)

type doctorOptions struct {
	images, host, accel string
	json                bool
}

func doctorCmd(e *Env) *cobra.Command {
	var o doctorOptions
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this machine can do, with the evidence and the remedy",
		Long: `Every answer comes from trying: a tiny guest is booted under KVM, a tap is made,
a huge page is touched. The names are those of catalogue cases' needs. The exit
code is 3 when something that every lab needs is missing.`,
		Example: "  hostctl doctor\n  hostctl doctor --host vm   # boots the host image and asks it\n  hostctl doctor --json | jq '.[] | select(.ok | not)'",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return doctor(cmd.Context(), e, o) },
	}
	imagesFlag(cmd, &o.images)
	cmd.Flags().StringVar(&o.host, "host", runs.Container, "container, vm, or metal=ssh://user@pc: whom to examine")
	cmd.Flags().StringVar(&o.accel, "accel", lab.AccelAuto, "auto, kvm or tcg, for --host vm")
	cmd.Flags().BoolVar(&o.json, "json", false, "print an array of {name, ok, optional, evidence, remedy}")
	return cmd
}

func imagesFlag(cmd *cobra.Command, p *string) {
	cmd.Flags().StringVar(p, "images", "", "folder with the images guest and host (default $PICOLAB_IMAGES, else "+place.DefaultImages+")")
}

func doctor(ctx context.Context, e *Env, o doctorOptions) error {
	host, err := runs.ParseHost(o.host)
	if err != nil {
		return usage("--host: %w", err)
	}
	p, err := place.New(o.images)
	if err != nil {
		return err
	}
	answers, err := runs.Doctor(ctx, host, p, o.accel, e.Stderr)
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
