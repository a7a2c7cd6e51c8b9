// Package netdev makes and changes network links on the host side of a lab. It is hostctl's only door to rtnetlink.
//
// Every function works in the network namespace of the calling thread and names links by name. Errors are
// `verb link NAME: errno text`; a link that is not there is ErrNotFound.
package netdev

import (
	"errors"
	"net"
	"net/netip"
)

// Limits of the kernel's drivers, in bytes. A tap counts its Ethernet header, so 65535 - 14.
const (
	MinMTU     = 68
	MaxTapMTU  = 65521
	MaxVethMTU = 65535
	MaxName    = 15 // IFNAMSIZ - 1
)

// ErrNotFound is the error of a link that does not exist in this namespace.
var ErrNotFound = errors.New("link not found")

// Bridge describes a bridge. Spanning tree is off, so ports forward at once.
type Bridge struct {
	Name          string
	MAC           net.HardwareAddr // random when nil; set it or the bridge takes the lowest of its ports'
	MTU           int              // 0: follows the smallest port. Once set, it no longer follows
	McastSnooping bool             // off unless asked for: snooping prunes groups nobody joined
}

// Tap describes a persistent tap device with IFF_NO_PI and IFF_VNET_HDR.
type Tap struct {
	Name   string
	Queues int // more than 1: IFF_MULTI_QUEUE, as `queues=` of QEMU needs
	Owner  int // uid that may attach; negative: anybody with CAP_NET_ADMIN
	Master string
	MTU    int // 0: the default, 1500
}

// Stats are a link's counters as the host sees them: rx is what came from the guest on a tap.
type Stats struct {
	RxPackets, RxBytes, RxDropped, RxErrors uint64
	TxPackets, TxBytes, TxDropped, TxErrors uint64
}

// Link is the state of a link.
type Link struct {
	Name, Kind, OperState, Master string
	Alias                         string // a text for people: ip link set NAME alias TEXT
	Index, MTU                    int
	MAC                           net.HardwareAddr
	Up, Promisc                   bool
	Addrs                         []netip.Prefix
	Stats                         Stats
}
