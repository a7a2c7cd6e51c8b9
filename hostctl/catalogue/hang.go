package catalogue

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"picolab/guestagent/wire"
	"picolab/hostctl/lab"
	"picolab/hostctl/report"
)

// timedOut says whether a request was given up because its own time was over, and not the instance's.
func timedOut(t *T, err error) bool {
	return wire.CodeOf(wire.Classify(err)) == wire.Code_DEADLINE && t.Context().Err() == nil
}

// unheard says whether a guest did not answer, or its connections broke, without the instance being over.
func unheard(t *T, err error) bool {
	return timedOut(t, err) || wire.CodeOf(err) == wire.Code_LOST && t.Context().Err() == nil
}

// suspect ends the instance when a guest that was not heard is found to hang, or its QEMU to; it returns when the agent still
// answers, so that it was slow at what it was asked, and when it answers on a new connection.
func (n *Node) suspect(what string) {
	if n.answers() || n.answersAnew() {
		return
	}
	ctx, cancel := context.WithTimeout(n.t.Context(), n.t.Timeout(lab.WaitStart))
	defer cancel()
	m := n.machine.Monitor()
	if m == nil {
		return // the end of QEMU is told as a finding
	}
	n.t.unanswering(n.name)
	var s struct {
		Status string `json:"status"`
	}
	if err := m.Run(ctx, "query-status", nil, &s); err != nil {
		n.t.stop(report.Error, fmt.Sprintf("guest %s: %s: neither its agent nor its QEMU answers: %v", n.name, what, err))
	}
	where := n.keepProcessors(ctx, m, s.Status)
	if s.Status != "running" {
		n.t.stop(report.Error, fmt.Sprintf("guest %s: %s: no answer: QEMU has it %s", n.name, what, s.Status))
	}
	n.t.stop(report.Fail, fmt.Sprintf("guest %s hangs: %s: no answer, nor to its agent's being called again for %v; QEMU says that it runs; %s",
		n.name, what, n.t.Timeout(lab.WaitPing), where))
}

// answers asks the agent for a sign of life.
func (n *Node) answers() bool {
	ctx, cancel := context.WithTimeout(n.t.Context(), n.t.Timeout(lab.WaitPing))
	defer cancel()
	return n.agent != nil && n.agent.Ping(ctx) == nil
}

// answersAnew calls the agent on another connection: a guest that was stopped for a while has lost its old ones.
func (n *Node) answersAnew() bool {
	ctx, cancel := context.WithTimeout(n.t.Context(), n.t.Timeout(lab.WaitPing))
	defer cancel()
	return n.machine.Monitor() != nil && n.machine.Reconnect(ctx) == nil
}

// rip is what QEMU says of where a processor is and whether it waits for an interrupt (target/i386/cpu-dump.c).
var rip = regexp.MustCompile(`RIP=.*`)

// keepProcessors leaves the state of all processors as evidence and returns where they are.
func (n *Node) keepProcessors(ctx context.Context, m Monitor, status string) string {
	const command = "info registers -a"
	var text string
	n.t.step("qemu "+n.name, qmpCommand("human-monitor-command", Args{"command-line": command}))
	if err := m.Run(ctx, "human-monitor-command", Args{"command-line": command}, &text); err != nil {
		text = err.Error()
	}
	text = strings.ReplaceAll(text, "\r\n", "\n")
	n.t.keepText(n.name+".hang.txt", "query-status: "+status+"\n"+text+"\n")
	return strings.Join(rip.FindAllString(text, -1), "; ")
}
