package flash

import (
	"errors"
	"strings"
	"testing"
)

// TestDeviceStates has every state that a device may be in, and what becomes of it.
func TestDeviceStates(t *testing.T) {
	const size = headSize + 512
	path, data := image(t, size, 1)
	states, accepted := 0, 0
	fixed := func(s *stick) { s.Bus, s.Removable = "ata", false }
	for _, tc := range []struct {
		name   string
		set    func(*stick)
		force  bool
		refuse string // part of the reason; "" accepts
	}{
		{name: "USB stick", set: func(*stick) {}},
		{name: "USB disk that says it is fixed", set: func(s *stick) { s.Removable = false }},
		{name: "memory card", set: func(s *stick) { s.Bus, s.Removable = "mmc", false }},
		{name: "removable SATA", set: func(s *stick) { s.Bus = "ata" }},
		{name: "exactly as large", set: func(s *stick) { s.Size = size }},
		{name: "fixed disk", set: fixed, refuse: "fixed disk (ata)"},
		{name: "fixed disk, forced", set: fixed, force: true},
		{name: "NVMe disk", set: func(s *stick) { s.Bus, s.Removable = "nvme", false }, refuse: "fixed disk (nvme)"},
		{name: "partition", set: func(s *stick) { s.Whole = "/dev/sdx" }, refuse: "partition of /dev/sdx"},
		{name: "partition, forced", set: func(s *stick) { s.Whole = "/dev/sdx" }, force: true, refuse: "partition"},
		{name: "optical drive", set: func(s *stick) { s.Optical = true }, force: true, refuse: "optical"},
		{name: "device-mapper", set: func(s *stick) { s.Virtual = true }, force: true, refuse: "made of other devices"},
		{name: "reader without a card", set: func(s *stick) { s.Size = 0 }, force: true, refuse: "no medium"},
		{name: "one sector too small", set: func(s *stick) { s.Size = size - 512 }, force: true, refuse: "the image"},
		{name: "read-only", set: func(s *stick) { s.ReadOnly = true }, force: true, refuse: "read-only"},
		{name: "4096-byte sectors", set: func(s *stick) { s.Sector = 4096 }, force: true, refuse: "sectors have 4096"},
		{name: "disk of the root file system", set: func(s *stick) { s.Mounts = []string{"/"} }, force: true, refuse: "running system is on it: /"},
		{name: "disk of /boot", set: func(s *stick) { s.Mounts = []string{"/boot"} }, force: true, refuse: "running system"},
		{name: "disk of the ESP", set: func(s *stick) { s.Mounts = []string{"/media/x", "/boot/efi"} }, force: true, refuse: "running system is on it: /boot/efi"},
		{name: "swap", set: func(s *stick) { s.Swap = []string{"/dev/sdx2"} }, force: true, refuse: "swap space: /dev/sdx2"},
		{name: "mounted", set: func(s *stick) { s.Mounts = []string{"/media/me/STICK"} }, force: true, refuse: "mounted on /media/me/STICK"},
		{name: "LUKS, LVM or RAID on it", set: func(s *stick) { s.Holders = []string{"dm-0"} }, force: true, refuse: "part of dm-0"},
		{name: "mounted in another namespace", set: func(s *stick) { s.busy = refused(s.Device, "it is in use", "") }, force: true, refuse: "in use"},
		{name: "exchanged after the question", set: func(s *stick) { s.later = func(d Device) Device { d.Serial = "S2"; return d } }, refuse: "another device"},
		{name: "card exchanged after the question", set: func(s *stick) { s.later = func(d Device) Device { d.Seq = "8"; return d } }, refuse: "another device"},
		{name: "smaller after the question", set: func(s *stick) { s.later = func(d Device) Device { d.Size /= 2; return d } }, refuse: "another device"},
		{name: "mounted after the question", set: func(s *stick) { s.later = func(d Device) Device { d.Mounts = []string{"/mnt"}; return d } }, refuse: "mounted on /mnt"},
		{name: "locked after the question", set: func(s *stick) { s.later = func(d Device) Device { d.ReadOnly = true; return d } }, refuse: "read-only"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newStick(4 * headSize)
			tc.set(s)
			states++
			rep, err := Flash(t.Context(), s, Options{Image: path, Device: "/dev/sdx", Force: tc.force, Confirm: yes})
			if s.opened != 0 {
				t.Error("the device is still held")
			}
			if err == nil && tc.refuse != "" {
				accepted++
			}
			if tc.refuse == "" {
				if err != nil || rep == nil || string(s.medium[:size]) != string(data) {
					t.Errorf("not written: %v", err)
				}
				return
			}
			var r *RefusedError
			if !errors.As(err, &r) || !strings.Contains(r.Reason, tc.refuse) {
				t.Errorf("got %v, want a refusal with %q", err, tc.refuse)
			}
			if len(s.writes) != 0 || rep != nil {
				t.Errorf("%d writes", len(s.writes))
			}
		})
	}
	t.Logf("%d device states, %d wrong accepts", states, accepted)
	if states < 24 {
		t.Errorf("only %d states", states)
	}
}

// TestEveryGuardIsNeeded takes one guard away at a time: some state must pass then that did not.
func TestEveryGuardIsNeeded(t *testing.T) {
	states := []Device{
		{Whole: "/dev/sdx"}, {Optical: true}, {Virtual: true}, {Size: -1}, {Swap: []string{"x"}}, {Mounts: []string{"/"}},
		{Mounts: []string{"/mnt"}}, {Holders: []string{"dm-0"}}, {ReadOnly: true}, {Sector: 4096}, {Size: 10},
	}
	if len(states) != len(always) {
		t.Fatalf("%d guards, %d states", len(always), len(states))
	}
	for i, d := range states {
		if d.Size == 0 {
			d.Size = 1 << 30
		}
		if d.Sector == 0 {
			d.Sector = 512
		}
		if reason, _ := always[i](d, 1<<20); reason == "" {
			t.Errorf("guard %d does not refuse %+v", i, d)
		}
		if reason, _ := always[i](Device{Size: 1 << 30, Sector: 512, Bus: "usb"}, 1<<20); reason != "" {
			t.Errorf("guard %d refuses a good stick: %s", i, reason)
		}
	}
}

func TestConfirmed(t *testing.T) {
	path, _ := image(t, headSize+512, 1)
	for _, tc := range []struct {
		serial, typed string
		ok            bool
	}{{"S1", "S1", true}, {"S1", "S2", false}, {"S1", "", false}, {"S1", "s1", false}, {"", "", false}, {"", "none-4194304", true}, {"", "none-4194305", false}} {
		s := newStick(4 * headSize)
		s.Serial = tc.serial
		_, err := Flash(t.Context(), s, Options{Image: path, Device: "/dev/sdx", Confirm: Confirmed(tc.typed)})
		if (err == nil) != tc.ok || (len(s.writes) > 0) != tc.ok {
			t.Errorf("serial %q, typed %q: %v, %d writes", tc.serial, tc.typed, err, len(s.writes))
		}
	}
}
