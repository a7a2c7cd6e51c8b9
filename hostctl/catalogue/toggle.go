package catalogue

import (
	"context"
	"strings"
	"time"

	"picolab/guestagent/client"
	"picolab/hostctl/lab"
)

// Toggling makes changes of a link by turns, with a pause after each, for as long
// as fn runs, as a shell's "while true" does.  Each is made at least once.  It
// returns how many were made.  The link is put back when the instance ends.
func (n *Node) Toggling(link string, pause time.Duration, changes []client.LinkChange, fn func()) int {
	before := n.LinkNamed(link)
	n.did("%s", toggleCommand(link, pause, changes))
	for _, ch := range changes {
		n.undo("restore link "+link, lab.WaitLink, func(ctx context.Context) error {
			return n.agent.SetLink(ctx, link, inverse(ch, before))
		})
	}
	done, made := make(chan struct{}), 0
	n.t.Together(
		func() {
			defer close(done)
			fn()
		},
		func() { made = n.toggle(link, pause, changes, done) },
	)
	return made
}

// toggle goes round until done.
func (n *Node) toggle(link string, pause time.Duration, changes []client.LinkChange, done <-chan struct{}) (made int) {
	for {
		for _, ch := range changes {
			n.tell("set link "+link, lab.WaitLink, func(ctx context.Context) error { return n.agent.SetLink(ctx, link, ch) })
			made++
			n.rest(pause, done)
		}
		select {
		case <-done:
			return made
		default:
		}
	}
}

// rest waits for a pause of the document's, or until done.
func (n *Node) rest(pause time.Duration, done <-chan struct{}) {
	if pause == 0 {
		return
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-done:
	case <-n.t.Context().Done():
	}
}

// toggleCommand is the loop that a person would type.
func toggleCommand(link string, pause time.Duration, changes []client.LinkChange) string {
	var b strings.Builder
	b.WriteString("while true; do ")
	for _, ch := range changes {
		b.WriteString(linkCommand(link, ch) + "; ")
		if pause > 0 {
			b.WriteString("sleep " + seconds(pause) + "; ")
		}
	}
	b.WriteString("done")
	return b.String()
}
