package wire

import (
	"context"
	"fmt"
)

// Credit counts the messages a sender may still have in flight. A peer cannot grow it beyond Window.
type Credit struct {
	tokens chan struct{}
}

// NewCredit starts with a full window.
func NewCredit() *Credit {
	c := &Credit{tokens: make(chan struct{}, Window)}
	for range Window {
		c.tokens <- struct{}{}
	}
	return c
}

// Take waits for the right to send one message.
func (c *Credit) Take(ctx context.Context) error {
	select {
	case <-c.tokens:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Try takes the right to send one message if there is one: for messages that may be left out.
func (c *Credit) Try() bool {
	select {
	case <-c.tokens:
		return true
	default:
		return false
	}
}

// Give adds what an Ack returns. Acknowledging more than was sent is an error.
func (c *Credit) Give(a *Ack) error {
	for range a.GetMessages() {
		select {
		case c.tokens <- struct{}{}:
		default:
			return Errorf(Code_INVALID, "acknowledge: %w", fmt.Errorf("%d messages, more than sent", a.GetMessages()))
		}
	}
	return nil
}
