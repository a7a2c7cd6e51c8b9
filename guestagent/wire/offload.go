package wire

// Offload returns the features of the kernel (net/ethtool/common.c) that ethtool(8)'s short name for -K stands for, nil for
// a name that is none. A device need not have them all.
func Offload(short string) []string {
	switch short {
	case "rx":
		return []string{"rx-checksum"}
	case "tx":
		return []string{"tx-checksum-ip-generic", "tx-checksum-ipv4", "tx-checksum-ipv6", "tx-checksum-sctp", "tx-checksum-fcoe-crc"}
	case "sg":
		return []string{"tx-scatter-gather", "tx-scatter-gather-fraglist"}
	case "tso":
		return []string{"tx-tcp-segmentation", "tx-tcp-ecn-segmentation", "tx-tcp-mangleid-segmentation", "tx-tcp6-segmentation"}
	case "ufo":
		return []string{"tx-udp-fragmentation"} // until Linux 4.14
	case "gso":
		return []string{"tx-generic-segmentation"}
	case "gro":
		return []string{"rx-gro"}
	case "lro":
		return []string{"rx-lro"}
	case "rxvlan":
		return []string{"rx-vlan-hw-parse"}
	case "txvlan":
		return []string{"tx-vlan-hw-insert"}
	case "ntuple":
		return []string{"rx-ntuple-filter"}
	case "rxhash":
		return []string{"rx-hashing"}
	}
	return nil
}
