package vnet

import (
	"errors"
	"fmt"
	"sync/atomic"

	"picolab/hostctl/vhostuser"
	"picolab/hostctl/vhostuser/virtq"
)

// MaxFrame is the length in bytes of the longest frame: 64 KiB of IP packet behind an Ethernet header with a VLAN tag.
const MaxFrame = 65535 + 18

// MaxPairs is the greatest number of queue pairs.
const MaxPairs = 128

// ErrDown means that the guest does not work this queue now: it has not started, or has stopped.
var ErrDown = errors.New("queue is down")

// Events are told to the owner of a Port, from the vhostuser.Server's goroutine. Neither may wait for a call of Take or Put
// to find it out.
type Events interface {
	// Up tells that frames may come from pair: look for some at once. kick becomes readable, edge-triggered, when there
	// are after Arm; it is the front-end's eventfd, which must be neither read nor closed, or -1.
	Up(pair, kick int)
	// Down tells that no frames will come. After its return kick is closed.
	Down(pair int)
}

// Frame is an Ethernet frame, without its check sequence. The memory is the caller's, but for those of Borrow.
type Frame struct {
	Header Header
	Data   []byte
}

// Stats counts, since the port was made.
type Stats struct {
	FromFrames, FromBytes uint64 // taken from the guest
	FromBad               uint64 // dropped: no whole header, no Ethernet header, or offloads that make no sense
	FromLong              uint64 // dropped: longer than the room for it
	ToFrames, ToBytes     uint64 // put to the guest
	ToFull                uint64 // dropped: the guest has not enough buffers
	ToOffload             uint64 // dropped: offloads that the guest has not accepted
	ToDown                uint64 // dropped: the queue is down
	ToShort               uint64 // buffers of the guest, too short for a header
}

type counters struct {
	fromFrames, fromBytes, fromBad, fromLong              atomic.Uint64
	toFrames, toBytes, toFull, toOffload, toDown, toShort atomic.Uint64
}

// Port is a virtio-net device, to be served by a vhostuser.Server. Take, Put and Arm of one pair must not run at the same
// time as themselves; everything else may.
type Port struct {
	events   Events
	pairs    []pair
	count    counters
	mtu      atomic.Int32
	announce atomic.Pointer[[6]byte] // the guest, on whose behalf Take is to speak
}

// pair is a receive and a transmit queue, named as the guest sees them.
type pair struct {
	port   *Port
	rx, tx atomic.Pointer[vhostuser.Ring]
	put    put
	take   take
	lend   lend
	arm    struct {
		work func(virtq.Queue) error
		more bool
	}
}

// New returns a port with 1 to MaxPairs queue pairs.
func New(pairs int, events Events) (*Port, error) {
	if pairs < 1 || pairs > MaxPairs {
		return nil, fmt.Errorf("make port: %d queue pairs", pairs)
	}
	p := &Port{events: events, pairs: make([]pair, pairs)}
	for i := range p.pairs {
		q := &p.pairs[i]
		q.port = p
		q.put.work, q.take.work = q.putAll, q.takeAll // once: method values allocate
		q.lend.work, q.lend.back = q.lendAll, q.takeBack
		q.arm.work = func(queue virtq.Queue) error { q.arm.more = queue.EnableKick(); return nil }
	}
	return p, nil
}

// Device returns the port as the device of a vhostuser.Server.
func (p *Port) Device() vhostuser.Device { return device{p} }

// device keeps the methods of vhostuser.Device out of Port's.
type device struct{ port *Port }

func (d device) Queues() int { return 2 * len(d.port.pairs) }

// ProtocolFeatures leaves CONFIG out, which QEMU refuses for network devices.
func (d device) ProtocolFeatures() uint64 { return vhostuser.ProtocolCommon | vhostuser.ProtocolNet }

func (d device) SetFeatures(uint64) error { return nil } // each ring has its own
func (d device) Config() []byte           { return nil }
func (d device) Disconnected()            {}

func (d device) Features() uint64 {
	f := uint64(featureCsum | featureMTU | featureGuestCsum | featureGuestTSO4 | featureGuestTSO6 | featureGuestECN |
		featureHostTSO4 | featureHostTSO6 | featureHostECN | featureMrgRxbuf |
		featureGuestUSO4 | featureGuestUSO6 | featureHostUSO | virtq.FeaturePacked | virtq.FeatureInOrder)
	if len(d.port.pairs) > 1 {
		f |= featureMQ
	}
	return f
}

func (d device) SetMTU(mtu int) error {
	d.port.mtu.Store(int32(mtu))
	return nil
}

// Announce has Take return a frame that the guest might have sent, and wakes up whoever waits for one.
func (d device) Announce(mac [6]byte) {
	d.port.announce.Store(&mac)
	if r := d.port.pairs[0].tx.Load(); r != nil {
		r.Kick()
	}
}

// StartRing takes even rings for the guest's receive queues, odd ones for its transmit queues.
func (d device) StartRing(r *vhostuser.Ring) error {
	q := &d.port.pairs[r.Index()/2]
	if r.Index()%2 == 0 {
		q.rx.Store(r)
		return nil
	}
	q.tx.Store(r)
	d.port.events.Up(r.Index()/2, r.KickFD())
	return nil
}

func (d device) StopRing(r *vhostuser.Ring) {
	q := &d.port.pairs[r.Index()/2]
	if r.Index()%2 == 0 {
		q.rx.Store(nil)
		return
	}
	q.tx.Store(nil)
	d.port.events.Down(r.Index() / 2)
}

// Pairs returns the number of queue pairs.
func (p *Port) Pairs() int { return len(p.pairs) }

// MTU returns the greatest length in bytes of what a frame of the guest's carries, as the front-end has told; 0 if it has not.
func (p *Port) MTU() int { return int(p.mtu.Load()) }

// Accepts reports whether Put takes a frame with this header to that pair now. If not, the frame has to be checksummed or
// cut into segments first.
func (p *Port) Accepts(pair int, h Header) bool {
	r := p.pairs[pair].rx.Load()
	return r != nil && h.accepts(r.Features())
}

// Arm asks the guest for a kick when it sends something, and reports whether there is something already, for which no kick
// may come.
func (p *Port) Arm(pair int) (more bool) {
	q := &p.pairs[pair]
	q.arm.more = false
	_ = q.do(&q.tx, q.arm.work)
	return q.arm.more
}

// do works a ring. A guest that broke its ring is as good as down; the Server has told of it.
func (q *pair) do(ring *atomic.Pointer[vhostuser.Ring], work func(virtq.Queue) error) error {
	r := ring.Load()
	if r == nil || r.Do(work) != nil {
		return ErrDown
	}
	return nil
}

// Stats returns the counts of now.
func (p *Port) Stats() Stats {
	c := &p.count
	return Stats{
		FromFrames: c.fromFrames.Load(), FromBytes: c.fromBytes.Load(), FromBad: c.fromBad.Load(), FromLong: c.fromLong.Load(),
		ToFrames: c.toFrames.Load(), ToBytes: c.toBytes.Load(), ToFull: c.toFull.Load(), ToOffload: c.toOffload.Load(),
		ToDown: c.toDown.Load(), ToShort: c.toShort.Load(),
	}
}
