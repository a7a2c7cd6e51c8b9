package wire

import "time"

// Protocol is the schema's version. Agent and client must agree on it.
const Protocol = 1

// Port is the vsock port the agent listens on.
const Port = 1024

// Limits of a connection. ttrpc has a frame limit of its own (4 MiB), which it applies by reading the frame to its end;
// ours is lower and ends the connection before anything is allocated.
const (
	// MaxFrame is the most bytes a frame's payload may have once Hello has succeeded.
	MaxFrame = 1 << 20
	// MaxFrameBeforeHello bounds what a stranger can make the agent allocate.
	MaxFrameBeforeHello = 4 << 10
	// MaxStreams is the most calls one connection may have running.
	MaxStreams = 256
	// MaxConns is the most connections an agent serves at once.
	MaxConns = 64
	// Chunk is the most data bytes in one message of a bulk stream.
	Chunk = 64 << 10
	// Window is the most unacknowledged messages of a bulk stream. It must stay below ttrpc's receive buffer (64), whose
	// overflow ends the stream.
	Window = 32
	// AckEvery is how many messages a receiver consumes before it sends an Ack.
	AckEvery = 8
	// HelloTimeout is how long a connection may stay without Hello.
	HelloTimeout = 10 * time.Second
)

// Limits and defaults of the verbs.
const (
	// DefaultExecLimit is how much output Exec forwards unless told.
	DefaultExecLimit = 16 << 20
	// DefaultExecTimeout bounds a command that has no timeout of its own.
	DefaultExecTimeout = 10 * time.Minute
	// KillGrace is the time between SIGTERM and SIGKILL.
	KillGrace = 2 * time.Second
	// MaxEcho is the largest ICMP echo payload that fits an IPv4 packet: 65535 - 20 - 8 (RFC 791, RFC 792).
	MaxEcho = 65507
	// MaxArgs bounds the bytes of argv and environment together.
	MaxArgs = 512 << 10
)
