package catalogue

import (
	"context"

	"picolab/guestagent/wire"
	"picolab/hostctl/lab"
)

// Channels returns a link's numbers of queues, as ethtool -l does.
func (n *Node) Channels(link string) *wire.ChannelsReply {
	n.did("ethtool -l %s", link)
	return ask(n, "get channels of "+link, lab.WaitAgent, 0, func(ctx context.Context) (*wire.ChannelsReply, error) {
		return n.agent.Channels(ctx, link)
	})
}

// SetCombined sets a link's number of queue pairs, as ethtool -L does.
func (n *Node) SetCombined(link string, pairs int) *wire.ChannelsReply {
	before := n.Channels(link)
	n.did("ethtool -L %s combined %d", link, pairs)
	n.undo("restore channels of "+link, lab.WaitLink, func(ctx context.Context) error {
		_, err := n.agent.SetCombined(ctx, link, int(before.GetCombined()))
		return err
	})
	return ask(n, "set channels of "+link, lab.WaitLink, 0, func(ctx context.Context) (*wire.ChannelsReply, error) {
		return n.agent.SetCombined(ctx, link, pairs)
	})
}
