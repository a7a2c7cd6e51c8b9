package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"picolab/hostctl/catalogue"
	"picolab/hostctl/internal/place"
	"picolab/hostctl/internal/runs"
	"picolab/hostctl/lab"
	"picolab/hostctl/report"
)

// exitNothing is a run's exit code when the selection has no instance.
const exitNothing = report.ExitNothing

type runOptions struct {
	selectors             []string
	set                   []string
	profile               string
	images, output, accel string
	host                  string
	failFast, keepGoing   bool
	dryRun                bool
	resume                string
	shard                 string
	baseline              string
	threshold             float64
}

func runCmd(e *Env) *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run [SELECTOR...]",
		Short: "Run cases of the catalogue and report their verdicts",
		Long: `Runs the selected cases (see "hostctl list --help" for selectors; all without one)
on labs that it boots and takes down, and leaves in the output folder:
results.jsonl (one line an instance), run.json, what is made of them (report.html,
junit.xml, results.tap, bench.txt for benchstat), and the evidence of every instance: captures of the links, consoles, kernel logs, QMP logs and QEMU's
command lines. What this machine lacks makes an instance a SKIP that says so.

The labs are booted in the host image, which runs in one of three ways (--host):
container, namespaces of the kernel at hand (the default; seconds); vm, as a
virtual machine with the image's own kernel (vhost-net, kernel vsock ...; about a
minute more for a boot inside it without KVM); metal=ssh://[user@]pc[:port], on a
PC that runs the image, with keys and known_hosts as ssh has them. auto takes for
each instance the first of container and vm that has what it needs.

A run that was stopped goes on with --resume DIR: what has a result is not run
again. --shard 2/5 runs the second of five parts of about the same length; merge
joins them. --baseline DIR compares with an earlier run and fails on regressions.

Exit codes: 0 all is PASS, SKIP, XFAIL or DEGRADED; 1 a FAIL or XPASS; 2 wrong
usage; 3 an ERROR, or an instance without a result; 4 nothing to run; 130
interrupted, with partial results.`,
		Example: `  hostctl run -o results
  hostctl run vhostnet --set nic=virtio
  hostctl run vhostnet.ping --set vhost=on --host vm
  hostctl run --host metal=ssh://root@192.0.2.7 -o results
  hostctl run --resume results
  hostctl run --shard 1/4 -o part1 --dry-run
  hostctl run --baseline results -o today
  hostctl run 'vnic.link-*' 'vhostnet.ping[nic=e1000]' --profile full --fail-fast`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.selectors = args
			return run(cmd.Context(), e, o)
		},
	}
	imagesFlag(cmd, &o.images)
	f := cmd.Flags()
	f.StringArrayVar(&o.set, "set", nil, "run only these values of an axis: axis=value[,value...]; may be repeated")
	f.StringVar(&o.profile, "profile", string(catalogue.Quick), "quick, or full with the documents' own parameters")
	f.StringVarP(&o.output, "output", "o", "", "folder for results and evidence (default run-TIME)")
	f.StringVar(&o.accel, "accel", lab.AccelAuto, "auto, kvm or tcg")
	f.StringVar(&o.host, "host", runs.Container, "container, vm, metal=ssh://user@pc, or auto")
	f.BoolVar(&o.failFast, "fail-fast", false, "stop after the first FAIL, XPASS or ERROR")
	f.BoolVar(&o.keepGoing, "keep-going", false, "run everything whatever comes of it (the default)")
	f.BoolVar(&o.dryRun, "dry-run", false, "print what would run and about how long it would take, and do nothing")
	f.StringVar(&o.resume, "resume", "", "go on with the run in this folder")
	f.StringVar(&o.shard, "shard", "", "run part I of N: I/N")
	f.StringVar(&o.baseline, "baseline", "", "fail when verdicts or figures are worse than this run's")
	f.Float64Var(&o.threshold, "threshold", defaultThreshold, "percent that a figure may be worse than the baseline's")
	return cmd
}

func run(ctx context.Context, e *Env, o runOptions) error {
	opts, err := o.resolve(e)
	if err != nil {
		return err
	}
	plan, err := opts.Plan()
	if err != nil {
		return usage("%w", err)
	}
	if opts.Place, err = place.New(o.images); err != nil {
		return err
	}
	if o.dryRun {
		return dryRun(ctx, e.Stdout, opts, plan)
	}
	if o.baseline != "" { // what is wrong with it must not be found out at the end
		if _, err := runs.Load(o.baseline); err != nil {
			return usage("--baseline: %w", err)
		}
	}
	out, err := runs.Run(ctx, opts)
	if errors.Is(err, runs.ErrFolder) {
		return usage("%w", err)
	}
	if out == nil {
		return err
	}
	if err := conclude(e, opts, out, err); err != nil || o.baseline == "" {
		return err
	}
	return againstBaseline(e, o, opts.Dir)
}

// againstBaseline compares a run that is green by itself with an earlier one.
func againstBaseline(e *Env, o runOptions, dir string) error {
	c, err := compared(o.baseline, dir)
	if err != nil {
		return err
	}
	fmt.Fprintln(e.Stdout)
	if err := showComparison(e, c, ""); err != nil {
		return err
	}
	return regressions(e.Stdout, c, o.threshold)
}

// resolve turns flags into options, with everything that can be wrong in them.
func (o runOptions) resolve(e *Env) (runs.Options, error) {
	set, err := catalogue.ParseAxes(o.set)
	if err != nil {
		return runs.Options{}, usage("--set: %w", err)
	}
	if o.failFast && o.keepGoing {
		return runs.Options{}, usage("--fail-fast and --keep-going exclude each other")
	}
	if o.accel != lab.AccelAuto && o.accel != lab.AccelKVM && o.accel != lab.AccelTCG {
		return runs.Options{}, usage("--accel: %q is none of auto, kvm, tcg", o.accel)
	}
	host, err := runs.ParseHost(o.host)
	if err != nil {
		return runs.Options{}, usage("--host: %w", err)
	}
	if o.resume != "" && (len(o.selectors) > 0 || len(o.set) > 0 || o.output != "" || o.shard != "" || o.dryRun) {
		return runs.Options{}, usage("--resume goes on with what the run was: no selectors, --set, --shard, --dry-run or -o with it")
	}
	var shard catalogue.Shard
	if o.shard != "" {
		if shard, err = catalogue.ParseShard(o.shard); err != nil {
			return runs.Options{}, usage("--shard: %w", err)
		}
	}
	if o.resume != "" {
		o.output = o.resume
	}
	if o.output == "" {
		o.output = "run-" + time.Now().Format("20060102-150405")
	}
	terminal := isTerminal(e.Stdout)
	return runs.Options{Selectors: o.selectors, Axes: set, Profile: catalogue.Profile(o.profile), Accel: o.accel, Host: host,
		FailFast: o.failFast, Dir: o.output, Resume: o.resume != "", Shard: shard, Command: append([]string{"hostctl"}, e.Args...), Stdout: e.Stdout,
		Stderr: e.Stderr, Terminal: terminal, Color: colored(e.Stdout)}, nil
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// dryRun prints a plan: one paragraph a boot, under the host it would be on.
func dryRun(ctx context.Context, w io.Writer, opts runs.Options, plan catalogue.Plan) error {
	shares, err := opts.Shares(ctx, plan)
	if err != nil {
		return err
	}
	for _, s := range shares {
		if opts.Host.Kind != runs.Container {
			fmt.Fprintf(w, "host %s\n", s.Host)
		}
		for _, why := range s.Why {
			fmt.Fprintf(w, "  for %s\n", why)
		}
		printGroups(w, s.Plan)
	}
	for _, line := range report.Exclusions(plan.Excluded) {
		fmt.Fprintln(w, line)
	}
	pace := opts.Pace()
	fmt.Fprintf(w, "%d instances on %d labs, about %v\n", len(plan.Instances()), len(plan.Groups), plan.Estimate(pace).Round(time.Second))
	if len(plan.Groups) == 0 {
		return &exitError{exitNothing, errors.New("nothing to run: the selection has no instance")}
	}
	return nil
}

func printGroups(w io.Writer, plan catalogue.Plan) {
	for _, g := range plan.Groups {
		fmt.Fprintf(w, "boot %s\n", g.Topology)
		for _, in := range g.Instances {
			fmt.Fprintf(w, "  %s\n", in.ID())
		}
	}
}

// conclude prints the summary; the exit code is the outcome's, or worse when
// something of ours broke besides.
func conclude(e *Env, opts runs.Options, out *report.Outcome, err error) error {
	fmt.Fprintln(e.Stdout)
	serr := summarize(e, out, opts.Dir)
	if err != nil {
		return &exitError{max(out.ExitCode(), exitInfra), err}
	}
	return serr
}
