package vnic

import (
	"slices"
	"testing"

	"picolab/hostctl/catalogue"
)

// TestHumanLine shows commands as a person types them.
func TestHumanLine(t *testing.T) {
	for _, tt := range []struct {
		cmd  string
		args catalogue.Args
		want string
	}{
		{"netdev_del", catalogue.Args{"id": "hot0.net"}, "netdev_del hot0.net"},
		{"netdev_add", catalogue.Args{"type": "tap", "id": "hot0.net", "vhost": false, "ifname": "hot1", "script": "no"},
			"netdev_add tap,id=hot0.net,ifname=hot1,script=no,vhost=off"},
		{"netdev_add", catalogue.Args{"type": "stream", "id": "hot0.net", "server": false, "addr": catalogue.Args{"type": "unix", "path": "/tmp/s"}},
			"netdev_add stream,addr.path=/tmp/s,addr.type=unix,id=hot0.net,server=off"},
		{"device_add", catalogue.Args{"id": "hot0", "driver": "virtio-net-pci", "mac": "62:56:00:94:a3:16"},
			"device_add virtio-net-pci,id=hot0,mac=62:56:00:94:a3:16"},
	} {
		if got := humanLine(tt.cmd, tt.args); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

// TestPackets shows how the sizes that are looked for come about.
func TestPackets(t *testing.T) {
	for size, want := range map[int][]int{0: {28}, 1472: {1500}, 1473: {1500, 21}, 4096: {1500, 1500, 1164}} {
		if got := packets(size); !slices.Equal(got, want) {
			t.Errorf("%d bytes: %v, want %v", size, got, want)
		}
	}
	for want, lengths := range map[string][]int{
		"2 times [1500 21]":                     {1500, 21, 1500, 21},
		"0 times [1500 21]":                     nil,
		"1500 as number 2 of 3":                 {1500, 1500, 21},
		"3 packets in place of a multiple of 2": {1500, 21, 1500},
	} {
		if got := tally(lengths, []int{1500, 21}); got != want {
			t.Errorf("%v: %q, want %q", lengths, got, want)
		}
	}
}
