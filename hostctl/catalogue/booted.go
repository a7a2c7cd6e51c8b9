package catalogue

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/netip"
	"time"

	"picolab/guestagent/client"
	"picolab/guestagent/wire"
	"picolab/hostctl/lab"
)

// Agent is what cases ask of an endpoint: the methods of *client.Client that
// they use, with the two that return live objects as functions, so that tests
// can fake them.
type Agent interface {
	Ping(ctx context.Context) error
	Run(ctx context.Context, argv ...string) (client.Output, error)
	Power(ctx context.Context, action string) error
	ReadFile(ctx context.Context, path string) ([]byte, error)
	WriteFile(ctx context.Context, path string, mode uint32, data []byte) error
	Dmesg(ctx context.Context, follow bool, fn func(line string)) error

	Links(ctx context.Context) ([]*wire.Link, error)
	LinkByMAC(ctx context.Context, mac string, wait time.Duration) (*wire.Link, error)
	SetLink(ctx context.Context, name string, ch client.LinkChange) error
	AddVLAN(ctx context.Context, parent, name string, id int) error
	DelLink(ctx context.Context, name string) error
	AddAddr(ctx context.Context, link string, prefix netip.Prefix) error
	DelAddr(ctx context.Context, link string, prefix netip.Prefix) error
	AddRoute(ctx context.Context, r client.Route) error
	DelRoute(ctx context.Context, r client.Route) error
	AddNeigh(ctx context.Context, link string, ip netip.Addr, mac string) error
	DelNeigh(ctx context.Context, link string, ip netip.Addr) error
	Sysctl(ctx context.Context, key, value string) error
	Join(ctx context.Context, link, mac string) error
	Leave(ctx context.Context, link, mac string) error

	Features(ctx context.Context, link string) (map[string]*wire.Feature, error)
	SetFeatures(ctx context.Context, link string, on map[string]bool) (map[string]*wire.Feature, error)
	LinkStats(ctx context.Context, link string) (map[string]uint64, error)
	Driver(ctx context.Context, link string) (client.DriverInfo, error)
	Channels(ctx context.Context, link string) (*wire.ChannelsReply, error)
	SetCombined(ctx context.Context, link string, n int) (*wire.ChannelsReply, error)
	Modprobe(ctx context.Context, name string, params ...string) error
	Rmmod(ctx context.Context, name string) error

	PingHost(ctx context.Context, o client.PingOptions) (client.PingStats, error)
	Source(ctx context.Context, o client.SourceOptions) (client.Transfer, error)
	// Receive starts a sink; wait returns its account.
	Receive(ctx context.Context, o client.SinkOptions) (addr netip.AddrPort, wait func(context.Context) (client.Transfer, error), err error)
	// Record starts a capture; stop ends it.
	Record(ctx context.Context, o client.CaptureOptions) (stop func(context.Context) (client.CaptureStats, error), err error)
	// Generate runs a traffic generator to its end and returns its result.
	Generate(ctx context.Context, generator string, args ...string) (json.RawMessage, error)
	// Serve starts a generator that others connect to; it ends with ctx, or when stop is called.
	Serve(ctx context.Context, generator string, args ...string) (at netip.AddrPort, stop func() error, err error)
}

// Monitor is QEMU's QMP door, as cases use it.
type Monitor interface {
	Run(ctx context.Context, cmd string, args, out any) error
	// WaitEvent waits for an event of that name whose data match accepts.
	WaitEvent(ctx context.Context, name string, match func(data map[string]any) bool) (map[string]any, error)
}

// Booted is a lab that is up.  [Up] makes one of real guests; tests fake it.
type Booted interface {
	Host() Agent
	Machines() []Machine
	Segment(link string) Segment
	// Record captures what passes a link; stop ends it.
	Record(ctx context.Context, link string, w io.Writer, o lab.RecordOptions) (stop func(context.Context) (client.CaptureStats, error), err error)
	// NewEnd makes the host's end of a card of QEMU's model that is plugged in at run time; remove is called once.
	NewEnd(link, model string) (end lab.End, remove func(context.Context) error, err error)
	Outside(ctx context.Context, link string) (Outside, error)
	Listen(ctx context.Context, link string) (net.Listener, error) // by TCP, on the host's address of a link
	Netboot(link, file string, data []byte) (Netboot, error)       // serves what boots from a link
	Timeout(w lab.Wait) time.Duration
	Down(ctx context.Context) error
}

// Netboot gives addresses by DHCP and a file by TFTP.
type Netboot interface {
	Seen() []string // what was asked for
	Sent() int      // how often the file was taken to its last byte
	Close() error
}

// Machine is a running guest.
type Machine interface {
	Name() string
	Bare() bool       // it has no agent, ever: it boots what its firmware finds
	Agent() Agent     // nil while the guest is not up
	Monitor() Monitor // nil while QEMU does not run
	Cards() []Card
	Reconnect(ctx context.Context) error // to an agent whose connections are lost
	// Move migrates the guest to another QEMU; see lab.VM.Move.
	Move(ctx context.Context) (lab.Moved, error)
	Slot(i int) string // QEMU's bus for the i-th card plugged in at run time; "" when there is none
	Findings() []Finding
	Logs() map[string]string // evidence files that grow, by the name they get in an instance's folder
	Argv() []string
	Devices() []string // files below /dev that its QEMU has open, sorted

	Hibernate(ctx context.Context) error // suspend to disk, until QEMU has ended
	Resume(ctx context.Context) error    // power up again, until the agent answers
}

// Card is a network card of a running guest.
type Card struct {
	Model  string
	MAC    string
	Link   string
	Tap    string       // its end in the lab's network namespace, "" on a switch
	Device string       // id in QMP
	Netdev string       // id in QMP
	Addr   netip.Prefix // planned for it; the runner assigns it
}

// Segment is a link of a running lab.
type Segment struct {
	Bridge string       // its netdev on the host side; that of a switch sees the host's frames only
	Host   netip.Prefix // the host's address on it
}

// Outside is a host beside the lab's own, behind a bridge in between; see lab.Outside.
type Outside struct {
	Agent Agent
	Addr  netip.Prefix
	Close func(context.Context) error
}

// Finding is something bad a guest's kernel said.
type Finding struct {
	Guest string
	Kind  string
	Title string
	Text  string
	Fatal bool // the guest cannot go on
	Ours  bool // it tells of QEMU and not of the guest
}

// Boot makes a lab of a topology.  dir is for its evidence; found is called at
// once for every finding, from any goroutine.
type Boot func(ctx context.Context, top Topology, dir string, found func(Finding)) (Booted, error)
