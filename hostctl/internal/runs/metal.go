package runs

import (
	"context"
	"fmt"
	"io"
	"os"

	"picolab/hostctl/catalogue"
	"picolab/hostctl/internal/probe"
	"picolab/hostctl/internal/remote"
	"picolab/hostctl/lab"
	"picolab/hostctl/report"
)

// onMetal runs the job on a lab PC; the results go to dir as they come. ssh runs outside of any sandbox: it needs this
// machine's network and the user's keys.
func (j job) onMetal(ctx context.Context, client remote.SSH, dir string, stdout io.Writer) error {
	plan, err := j.plan()
	if err != nil {
		return err
	}
	results, err := report.Append(resultsOf(dir))
	if err != nil {
		return err
	}
	defer results.Close()
	progress := catalogue.NewProgress(stdout, len(plan.Instances()), j.Terminal, j.Color)
	defer progress.Close()
	c := &collector{dir: dir, job: j, plan: plan, results: results, progress: progress, boot: 1}
	progress.Doing("reach " + client.PC.String())
	inner := j
	inner.HostName = "" // the PC's own
	err = overSSH(ctx, client, order{Images: client.PC.Images, Run: &inner}, c.take)
	if err == nil || ctx.Err() != nil {
		return nil
	}
	return c.fail(c.rest(), report.Host{Name: client.PC.Host, Kind: Metal}, "host metal: "+err.Error())
}

// overSSH has a relay on a PC carry out an order.
func overSSH(ctx context.Context, client remote.SSH, o order, handle func(remote.Message) error) error {
	client.Connect = lab.Timeout(lab.WaitHost, lab.AccelKVM, 0)
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("read this program: %w", err)
	}
	defer self.Close()
	path, err := client.Install(ctx, self)
	if err != nil {
		return err
	}
	run := func(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer) error {
		return client.Run(ctx, path, stdin, stdout, stderr)
	}
	// The PC is real and its guests may run under TCG: what it says comes from the program beside them, which does not.
	l := limits{silence: 2 * lab.Timeout(lab.WaitAlive, lab.AccelTCG, 0), grace: lab.Timeout(lab.WaitHost, lab.AccelTCG, 0)}
	return listen(ctx, run, o, l, handle)
}

// ExamineMetal probes everything on a PC.
func ExamineMetal(ctx context.Context, pc remote.PC) ([]probe.Probe, error) {
	var answers []probe.Probe
	err := overSSH(ctx, remote.SSH{PC: pc}, order{Images: pc.Images, Doctor: true}, probes(&answers))
	return answers, err
}
