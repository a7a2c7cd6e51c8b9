package vhostnet

import (
	"fmt"
	"sync/atomic"

	"picolab/hostctl/catalogue"
	"picolab/hostctl/lab"
)

var driverReload = catalogue.Case{
	ID:    "vhostnet.driver-reload",
	Title: "A download survives that the card's driver goes and comes",
	Seed: catalogue.Seed{Doc: doc, Item: "9",
		Criterion: "in the meantime, download the kernel archives (proz -k 10); tar the kernel archives, if any errors during " +
			"the extracting, fail the whole testcase",
		Note: "The archive is generated data that the host serves over HTTP, and its SHA-256 is compared, which notices what tar " +
			"might not. As proz does, the client asks by ten connections for ranges and goes on where it was. A driver that comes " +
			"back may name its link otherwise and has no address: the link is found by the card's MAC."},
	Where:    where,
	Topology: catalogue.OneGuest().OnBackends().OnMachines(),
	Matrix:   catalogue.Cards("off").Backends().Machines().OnceEach(),
	Needs:    needs,
	Params: catalogue.Params{
		Full:  catalogue.Values{"bytes": "128MiB", "connections": "10", "pause": "100ms", "reloads": "50", "limit": "10m", "interval": "1s", "count": "10", "time": "5m"},
		Quick: catalogue.Values{"bytes": "16MiB", "reloads": "1", "interval": "50ms", "time": "10s"},
	},
	Steps: []string{
		"determine the driver of the card: ethtool -i",
		"download the archive in the guest by 10 connections, from the host",
		"in the mean time, again and again: link down, sleep 0.1, modprobe -r, modprobe, link up, sleep 0.1",
		"the archive's size and SHA-256 must be those of what the host has, and the driver was reloaded while it came",
		"ping -c 10 the guest from the host: the loss must be zero",
		"search the kernel logs of guest and host: no panic, no oops",
	},
	Run: func(t *catalogue.T) {
		guest := t.Guest("a")
		kernels := t.Kernels()
		driver := guest.Driver(guest.Link(0).Name).Driver
		guest.Return(0, driver)
		file := t.Serve(catalogue.LAN, t.Bytes("bytes"))
		var got catalogue.Fetched
		var done atomic.Bool
		reloads := 0
		t.Together(
			func() {
				defer done.Store(true)
				got = guest.Fetch(file, t.Int("connections"), t.Duration("limit"))
			},
			func() {
				t.Poll(lab.WaitTransfer, func() bool { return file.Sent() > 0 || done.Load() })
				for ; reloads < t.Int("reloads") && !done.Load(); reloads++ {
					guest.ReloadCard(0, driver, t.Duration("pause"))
				}
			},
		)
		evidence := fmt.Sprintf("%d reloads, %d retries, %.1f s", reloads, got.Retries, got.Seconds)
		t.Check("reloads while the download ran", "at least 1", reloads, reloads > 0, evidence)
		catalogue.Equal(t, "archive", fmt.Sprintf("%d bytes, SHA-256 %s", file.Bytes, file.SHA256),
			fmt.Sprintf("%d bytes, SHA-256 %s", got.Bytes, got.SHA256), evidence)
		t.NoLoss("ping afterwards", pingGuest(t, guest))
		kernels()
	},
}
