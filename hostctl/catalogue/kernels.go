package catalogue

import (
	"context"
	"errors"
	"fmt"

	"picolab/hostctl/lab"
)

// Kernels begins to watch the kernel logs of the host and of all guests.  The
// returned function checks that nothing bad has come since.  Where the host's
// log may not be read, that is noted and not judged.
func (t *T) Kernels() (check func()) {
	nodes := []*Node{t.Host()}
	for _, m := range t.lab.Machines() {
		nodes = append(nodes, t.Guest(m.Name()))
	}
	before := make([]string, len(nodes))
	for i, n := range nodes {
		if lines, err := n.kernelLog(); err == nil && len(lines) > 0 {
			before[i] = lines[len(lines)-1]
		}
	}
	return func() {
		for i, n := range nodes {
			n.quiet(before[i])
		}
	}
}

// quiet checks the kernel log behind a line.
func (n *Node) quiet(mark string) {
	lines, err := n.kernelLog()
	if err != nil && n.machine == nil {
		n.t.Logf("the kernel log of the host cannot be read: %v", err)
		return
	}
	if err != nil {
		n.blame("read kernel log", err)
	}
	got, evidence := "nothing", fmt.Sprintf("%d new lines", len(after(lines, mark)))
	bad := scan(n.name, after(lines, mark))
	if len(bad) > 0 {
		got, evidence = bad[0].Title, bad[0].Text
	}
	n.t.Check("kernel log of "+n.name, "no panic, oops or call trace", got, len(bad) == 0, evidence)
}

func (n *Node) kernelLog() ([]string, error) {
	ctx, cancel := context.WithTimeout(n.t.Context(), n.t.Timeout(lab.WaitAgent))
	defer cancel()
	agent := n.agent
	if n.machine != nil {
		agent = n.machine.Agent() // a sleep may have ended the one that the node has
	}
	if agent == nil {
		return nil, errors.New("the agent is not up")
	}
	var lines []string
	err := agent.Dmesg(ctx, false, func(line string) { lines = append(lines, line) })
	return lines, err
}
