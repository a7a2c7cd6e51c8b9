package vhostuser

import "picolab/hostctl/vhostuser/virtq"

// Feature bits of the protocol.
const (
	FeatureProtocol = 1 << 30 // VHOST_USER_F_PROTOCOL_FEATURES; a Server always offers it
	FeatureLogAll   = 1 << 26 // VHOST_F_LOG_ALL; a Server offers it with ProtocolLogShmfd
)

// Protocol features that the package implements.
const (
	ProtocolMQ                 = 1 << 0
	ProtocolLogShmfd           = 1 << 1
	ProtocolRARP               = 1 << 2 // for a NetDevice
	ProtocolReplyAck           = 1 << 3
	ProtocolMTU                = 1 << 4 // for a NetDevice
	ProtocolBackendReq         = 1 << 5
	ProtocolConfig             = 1 << 9
	ProtocolInflight           = 1 << 12
	ProtocolResetDevice        = 1 << 13
	ProtocolMemSlots           = 1 << 15
	ProtocolStatus             = 1 << 16
	ProtocolImplemented        = ProtocolCommon | ProtocolNet | ProtocolConfig
	ProtocolNet                = ProtocolMTU | ProtocolRARP
	ProtocolCommon             = ProtocolMQ | ProtocolLogShmfd | ProtocolReplyAck | ProtocolBackendReq | ProtocolInflight | ProtocolResetDevice | ProtocolMemSlots | ProtocolStatus
	ringFeatures               = virtq.FeatureIndirect | virtq.FeatureEventIdx | virtq.FeatureVersion1 | FeatureProtocol
	maxQueues                  = 256 // SET_VRING_KICK has 8 bits for the index
	maxConfig                  = 256 // bytes of configuration space (VHOST_USER_MAX_CONFIG_SIZE)
	vringNoFD           uint64 = 1 << 8
)

// Device is what a back-end does with its rings. The Server calls its methods from one goroutine, one at a time.
type Device interface {
	// Queues returns the number of rings, at most 256.
	Queues() int
	// Features returns the device's own feature bits; those of rings and protocol are added, but for virtq.FeaturePacked and
	// virtq.FeatureInOrder: the second is for a device that gives back the buffers of a ring in the order in which it took them.
	Features() uint64
	// ProtocolFeatures returns which of ProtocolImplemented to offer. QEMU refuses CONFIG for network devices and
	// requires it for sockets.
	ProtocolFeatures() uint64
	// SetFeatures tells what the driver accepted, a subset of what was offered; FeatureLogAll, which comes and goes while
	// rings run, does not show. No ring has to be restarted for it.
	SetFeatures(features uint64) error
	// Config returns the configuration space, at most 256 bytes; nil if there is none.
	Config() []byte
	// StartRing tells that r can be worked. The device should look for buffers at once: a driver that was running
	// before the back-end started does not kick again.
	StartRing(r *Ring) error
	// StopRing tells that r has stopped: Do does nothing any more. The kick descriptor is closed on return.
	StopRing(r *Ring)
	// Disconnected tells that the front-end has gone, after all rings were stopped.
	Disconnected()
}

// NetDevice is what a Device has, too, that offers ProtocolNet. The Server calls it as it does the others.
type NetDevice interface {
	// SetMTU tells the greatest length in bytes of what an Ethernet frame of the guest's carries (NET_SET_MTU).
	SetMTU(mtu int) error
	// Announce tells that the guest has moved here, and does not say so itself: the network should hear from this address
	// (SEND_RARP).
	Announce(mac [6]byte)
}
