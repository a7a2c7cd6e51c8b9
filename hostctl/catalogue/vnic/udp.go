package vnic

import "picolab/hostctl/catalogue"

var udpFile = catalogue.Case{
	ID:    "vnic.udp-file",
	Title: "A big file goes from the guest to the host by UDP, whole",
	Seed: catalogue.Seed{Doc: doc, Item: "15",
		Criterion: "host: nc -u -l 1234 > host_file; guest: nc -u $host_ip_addr 1234 < guest_file",
		Note: "The document states no criterion; implied is that host_file is guest_file. UDP has no end of file and tells " +
			"nobody what it loses, and nc would leave holes unseen: each datagram carries its number, offset, length and " +
			"checksum, the last the SHA-256 of all. The content is a pseudo-random stream, so that no disk is needed, and " +
			"it is paced, as nc's from a disk was."},
	Where:    where,
	Topology: catalogue.OneGuest().OnBackends().OnMachines(),
	Matrix:   catalogue.Cards("off").Backends().Machines(),
	Needs:    needs,
	Params: catalogue.Params{
		Full:  catalogue.Values{"bytes": "1000MiB", "rate": "4MiB", "datagram": "1472", "time": "5m"},
		Quick: catalogue.Values{"bytes": "8MiB", "time": "3s"},
	},
	Steps: []string{
		"receive datagrams on the host",
		"send the file from the guest in datagrams",
		"what arrived must be what was sent: no datagram lost, the same SHA-256",
	},
	Run: func(t *catalogue.T) {
		t.TransferUDP("guest to host", t.Guest("a"), t.Host(), t.Segment(catalogue.LAN).Host.Addr(),
			t.Bytes("bytes"), t.Bytes("rate"), t.Int("datagram"))
	},
}
