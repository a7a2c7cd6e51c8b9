// Package fake is a lab without guests: links, cards and QEMU's monitor as far as
// the cases look at them, and knobs that make them misbehave.  Tests run cases on
// it to show that they pass on what is well and fail on what is not.
package fake

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"picolab/guestagent/client"
	"picolab/guestagent/wire"
	"picolab/hostctl/catalogue"
	"picolab/hostctl/lab"
)

// Faults make a lab misbehave.  The zero value is a lab where all is well.
type Faults struct {
	Loss         func(size int) bool // true loses every echo request of that size
	Crowded      bool                // of large requests closer together than 10 ms only two are answered
	Cut          bool                // of large requests only two are answered, at any distance
	Oversized    bool                // requests over the limit are answered
	Driver       string              // what the guests say their driver is
	Flip         []int               // feature bits that are the other way round
	LeakVLANs    bool                // frames reach the other VLAN
	Deaf         bool                // set_link does not reach the guests
	Talkative    bool                // set_link reaches guests that have no status feature
	Corrupt      bool                // transfers arrive changed
	ShortMTU     bool                // the guests take an MTU and do not use it
	KeepMAC      bool                // a changed address is not used on the wire
	KeepFilter   bool                // a changed address does not reach the device's filter
	NoVhost      bool                // QEMU does not open /dev/vhost-net though a card is to have it
	NoHotplug    bool                // cards that are plugged in do not appear
	NoEject      bool                // cards that are plugged out stay
	Oops         string              // what the guests' kernel says after a flood
	KeepPromisc  bool                // promiscuous mode does not go off again
	NoFeature    string              // a feature that the guests' links lack
	KeepFeatures bool                // ethtool -K has no effect
	Segments     int64               // bytes of the largest frame that is handed over, whatever the features
	LoseTo       string              // an address that frames do not reach
	NoServer     bool                // nobody answers netperf
	Stall        bool                // netperf moves nothing
	Lossy        bool                // of datagrams one does not arrive
	LowMTU       bool                // the guests refuse the largest MTU
	HighMTU      bool                // the guests take an MTU over the largest
	LongFrames   bool                // the guests send packets over their MTU
	Untagged     bool                // frames of a VLAN carry no tag
	KeepVLAN     bool                // a VLAN's link stays when it is removed
	CutFrames    bool                // captures show packets of another length
	Glued        bool                // the guests put together fragments that are too many
	Fossil       bool                // QEMU knows the commands of its first years
	Forget       bool                // what is undone stays done: a lab that an instance leaves changed
	FewQueues    bool                // the cards have one pair of queues less
	OneHint      bool                // all interrupts are hinted to the first processor
	OwnIRQs      bool                // queues have interrupts of their own whatever the vectors
	NoMove       bool                // migrations fail
	Reborn       bool                // the guests boot anew when they migrate
	LoseMoved    bool                // the cards carry nothing after a migration
	KeepParam    bool                // modules are loaded without their parameters
	Hung         bool                // the guests' agents answer no more
	HungQEMU     bool                // nor do their QEMUs
	Shallow      bool                // the guests' kernel knows no S3
	Sleepless    bool                // the guests do not fall asleep
	Coma         bool                // the guests do not wake up
	Numb         bool                // the cards carry nothing after a sleep
	Amnesia      bool                // the links have no addresses after a sleep
	Forgotten    bool                // the guests boot anew when they should resume
	Flappy       int                 // percent of long pings of a bond that are lost
	Lame         bool                // a port of a bond does not come up again
	NoReturn     bool                // a driver that is loaded again finds no card
	KeepDriver   bool                // drivers cannot be unloaded
	NoTFTP       bool                // firmware asks for an address and for nothing else
	Bricked      bool                // firmware does not boot from the network
	Haunted      bool                // firmware boots by a card that has no ROM
}

// Lab is a fake of catalogue.Booted.
type Lab struct {
	Faults Faults
	Downs  int // how often it was taken down

	mu       sync.Mutex
	top      catalogue.Topology
	host     *node
	guests   []*node
	ends     int
	captures []*capture
	sinks    map[uint16]*transfer
	params   map[string]string // of the host's modules, key=value by module
	server   *netboot
	dir      string // of consoles
}

// hostAddr is the host's address on every fake link.
var hostAddr = netip.MustParsePrefix("10.77.0.1/24")

// bridge is the host's end of every fake link, hostMAC its address.
const (
	bridge  = "br0"
	hostMAC = "52:54:00:00:00:fe"
)

// New makes a lab of a topology.
func New(top catalogue.Topology, f Faults) *Lab {
	l := &Lab{Faults: f, top: top, sinks: map[uint16]*transfer{}, params: map[string]string{}}
	l.host = &node{lab: l, name: "host", wireMAC: map[string]string{bridge: hostMAC}, unloads: make(chan struct{})}
	l.host.links = []*wire.Link{{Name: bridge, Index: 1, Mac: hostMAC, Mtu: 1500, MaxMtu: 65535, Up: true,
		Operstate: "up", Carrier: true, Kind: "bridge", Addresses: []string{hostAddr.String()}}}
	for i, g := range top.Guests {
		l.guests = append(l.guests, l.newGuest(i, g))
	}
	return l
}

// Boot is a catalogue.Boot of fakes.
func Boot(f Faults) catalogue.Boot {
	return func(_ context.Context, top catalogue.Topology, dir string, _ func(catalogue.Finding)) (catalogue.Booted, error) {
		l := New(top, f)
		l.dir = dir
		return l, l.makeConsoles()
	}
}

// Host implements catalogue.Booted.
func (l *Lab) Host() catalogue.Agent { return l.host }

// Machines implements catalogue.Booted.
func (l *Lab) Machines() []catalogue.Machine {
	var all []catalogue.Machine
	for _, g := range l.guests {
		all = append(all, g)
	}
	return all
}

// Segment implements catalogue.Booted.
func (l *Lab) Segment(string) catalogue.Segment {
	return catalogue.Segment{Bridge: bridge, Host: hostAddr}
}

// Record implements catalogue.Booted.
func (l *Lab) Record(ctx context.Context, _ string, w io.Writer, o lab.RecordOptions) (func(context.Context) (client.CaptureStats, error), error) {
	return l.host.Record(ctx, client.CaptureOptions{Link: bridge, Writer: w, Snaplen: o.Snaplen, Bytes: o.Bytes})
}

// NewEnd implements catalogue.Booted.
func (l *Lab) NewEnd(_, model string) (lab.End, func(context.Context) error, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ends++
	name := fmt.Sprintf("hot%d", l.ends)
	if len(l.top.Guests) > 0 && l.top.Guests[0].NICs[0].Backend == catalogue.Vale {
		return lab.End{Socket: name + ".sock", Rings: model == "virtio-net-pci"}, func(context.Context) error { return nil }, nil
	}
	l.host.links = append(l.host.links, &wire.Link{Name: name, Mtu: 1500, MaxMtu: 65521, Up: true, Carrier: true, Master: bridge})
	return lab.End{Tap: name}, func(ctx context.Context) error { return l.host.DelLink(ctx, name) }, nil
}

// Listen implements catalogue.Booted.
func (l *Lab) Listen(ctx context.Context, _ string) (net.Listener, error) {
	return new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
}

// Timeout implements catalogue.Booted: tests wait for what does not come.
func (l *Lab) Timeout(lab.Wait) time.Duration { return 200 * time.Millisecond }

// Down implements catalogue.Booted.
func (l *Lab) Down(context.Context) error {
	l.Downs++
	return nil
}

// Say has a guest's kernel say something on its console.
func (l *Lab) Say(guest int, f catalogue.Finding) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.guests[guest].findings = append(l.guests[guest].findings, f)
}

// Kill has a guest's agent answer no more.
func (l *Lab) Kill(guest int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.guests[guest].lost = true
}

// drivers and the largest MTUs of the models.
var (
	drivers = map[string]string{"virtio": "virtio_net", "e1000": "e1000", "rtl8139": "8139cp", "e1000e": "e1000e", "igb": "igb", "vmxnet3": "vmxnet3"}
	maxMTU  = map[string]int32{"virtio": 65535, "e1000": 16110, "rtl8139": 4096, "e1000e": 9212, "igb": 9216, "vmxnet3": 9000}
)

func (l *Lab) newGuest(i int, g catalogue.Guest) *node {
	n := &node{lab: l, name: g.Name, spec: g, wireMAC: map[string]string{}, heard: make(chan struct{}), unloads: make(chan struct{})}
	for j, nic := range g.NICs {
		tap := ""
		if nic.Backend == "" {
			tap = fmt.Sprintf("tap%dn%d", i, j)
			l.host.links = append(l.host.links, &wire.Link{Name: tap, Mtu: 1500, MaxMtu: 65521, Up: true, Carrier: true, Master: bridge})
		}
		card := catalogue.Card{Model: nic.Model, MAC: fmt.Sprintf("52:54:00:00:%02x:%02x", i, j), Link: nic.Link, Tap: tap,
			Device: fmt.Sprintf("nic%d", j), Netdev: fmt.Sprintf("nic%d.net", j),
			Addr: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 77, byte(j), byte(2 + i)}), 24)}
		if nic.Backend == catalogue.User {
			card.Addr = netip.Prefix{}
		}
		n.cards = append(n.cards, card)
		n.addCard(card.MAC, nic.Model, nic.Options)
	}
	return n
}
