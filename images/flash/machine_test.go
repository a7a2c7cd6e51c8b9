package flash

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// fakeMachine has a sysfs like that of a PC with everything in it.
func fakeMachine(t *testing.T) Machine {
	t.Helper()
	root := t.TempDir()
	m := Machine{Sys: filepath.Join(root, "sys"), Proc: filepath.Join(root, "proc")}
	const (
		usb  = "devices/pci0000:00/0000:00:14.0/usb2/2-3/"
		disk = usb + "2-3:1.0/host6/target6:0:0/6:0:0:0/"
		ata  = "devices/pci0000:00/0000:00:17.0/ata1/host0/target0:0:0/0:0:0:0/"
		nvme = "devices/pci0000:00/0000:01:00.0/nvme/nvme0/"
		mmc  = "devices/pci0000:00/0000:02:00.0/mmc_host/mmc0/mmc0:aaaa/"
	)
	files := map[string]string{
		usb + "idVendor": "0781\n", usb + "serial": "4C5300\n",
		disk + "vendor": "SanDisk \n", disk + "model": "Ultra           \n", disk + "wwid": "t10.none\n",
		disk + "block/sdb/removable": "1\n", disk + "block/sdb/diskseq": "12\n", disk + "block/sdb/sdb1/partition": "1\n", disk + "block/sdb/sdb1/dev": "8:17\n", disk + "block/sdb/sdb1/size": "2048\n",
		ata + "model": "Disk 1TB\n", ata + "vpd_pg80": "\x00\x80\x00\x08  WD1234\n",
		ata + "block/sda/sda1/partition": "1\n", ata + "block/sda/sda1/dev": "8:1\n", ata + "block/sda/sda1/size": "2048\n",
		ata + "block/sda/sda2/partition": "2\n", ata + "block/sda/sda2/dev": "8:2\n", ata + "block/sda/sda2/size": "2048\n",
		ata + "block/sda/sda3/partition": "3\n", ata + "block/sda/sda3/dev": "8:3\n", ata + "block/sda/sda3/size": "2048\n", ata + "block/sda/sda3/holders/dm-0/x": "",
		nvme + "model": "Fast SSD\n", nvme + "serial": "NV99 \n", mmc + "name": "SD32G\n", mmc + "serial": "0x1234\n",
		"devices/virtual/block/loop0/loop/backing_file": "/x/disk.img\n",
	}
	for dir, attr := range map[string][4]string{ // number, 512-byte sectors, read-only, sector size
		disk + "block/sdb": {"8:16", "60062500", "0", "512"}, ata + "block/sda": {"8:0", "1953525168", "0", "512"},
		nvme + "nvme0n1": {"259:0", "1000215216", "0", "4096"}, mmc + "block/mmcblk0": {"179:0", "62333952", "1", "512"},
		"devices/virtual/block/dm-0": {"253:0", "2048", "0", "512"}, "devices/virtual/block/loop0": {"7:0", "2048", "0", "512"},
		"devices/virtual/block/loop1": {"7:1", "0", "0", "512"}, "devices/pci0000:00/0000:00:17.0/ata2/host1/target1:0:0/1:0:0:0/block/sr0": {"11:0", "2097151", "0", "2048"},
	} {
		files[dir+"/dev"], files[dir+"/size"], files[dir+"/ro"], files[dir+"/queue/logical_block_size"] = attr[0]+"\n", attr[1]+"\n", attr[2]+"\n", attr[3]+"\n"
		if !strings.Contains(dir, "virtual") {
			link(t, strings.TrimSuffix(filepath.Dir(filepath.Join(m.Sys, dir)), "/block"), filepath.Join(m.Sys, dir, "device"))
		}
		link(t, filepath.Join(m.Sys, dir), filepath.Join(m.Sys, "block", filepath.Base(dir)))
		link(t, filepath.Join(m.Sys, dir), filepath.Join(m.Sys, "dev/block", attr[0]))
	}
	link(t, filepath.Join(m.Sys, disk, "block/sdb/sdb1"), filepath.Join(m.Sys, "dev/block/8:17"))
	for name, text := range files {
		put(t, filepath.Join(m.Sys, name), text)
	}
	put(t, filepath.Join(m.Proc, "swaps"), "Filename\t\t\t\tType\n/dev/sda2                               partition\t1\t0\t-2\n/swapfile file 1 0 -3\n")
	put(t, filepath.Join(m.Proc, "self/mountinfo"), `21 1 8:1 / / rw,relatime shared:1 master:2 - ext4 /dev/sda1 rw
22 21 0:21 / /proc rw - proc proc rw
23 21 8:17 / /media/me/MY\040STICK rw shared:5 - vfat /dev/sdb1 rw
24 21 0:44 /@home /srv rw shared:9 - btrfs /dev/mmcblk0 rw
`)
	return m
}

func link(t *testing.T, target, name string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestList(t *testing.T) {
	list, err := fakeMachine(t).List()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range list {
		reason := "fine"
		if err := Check(d, 1<<20, false); err != nil {
			reason = err.(*RefusedError).Reason
		}
		got = append(got, d.String()+": "+reason)
	}
	want := []string{
		"/dev/loop0: /x/disk.img, serial none-1048576, 0.0 GB, virtual: it is a fixed disk (virtual), neither removable nor USB nor a memory card",
		"/dev/mmcblk0: SD32G, serial 0x1234, 31.9 GB, mmc: it is mounted on /srv",
		"/dev/nvme0n1: Fast SSD, serial NV99, 512.1 GB, nvme: its sectors have 4096 bytes, a disk image's have 512",
		"/dev/sda: Disk 1TB, serial WD1234, 1000.2 GB, ata: it is the machine's swap space: /dev/sda2",
		"/dev/sdb: SanDisk Ultra, serial 4C5300, 30.8 GB, usb: it is mounted on /media/me/MY STICK",
		"/dev/sr0: unknown model, serial none-1073741312, 1.1 GB, ata: it is an optical drive",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestDescribe(t *testing.T) {
	m := fakeMachine(t)
	d, err := m.describe(m.sys("dev/block/8:16"))
	if err != nil {
		t.Fatal(err)
	}
	if !d.Removable || d.ReadOnly || d.Virtual || d.Seq != "12" || d.Number != "8:16" || d.Size != 60062500*512 || d.Sector != 512 {
		t.Errorf("%+v", d)
	}
	if p, err := m.describe(m.sys("dev/block/8:17")); err != nil || p.Whole != "/dev/sdb" {
		t.Errorf("partition: %+v, %v", p, err)
	}
	if sda, err := m.describe(m.sys("block/sda")); err != nil || !slices.Equal(sda.Holders, []string{"dm-0"}) || !slices.Equal(sda.Mounts, []string{"/"}) {
		t.Errorf("sda: %+v, %v", sda, err)
	}
	if dm, err := m.describe(m.sys("block/dm-0")); err != nil || !dm.Virtual {
		t.Errorf("dm-0: %+v, %v", dm, err)
	}
	put(t, m.proc("self/mountinfo"), "nonsense\n")
	if _, err := m.List(); err == nil {
		t.Error("a table of mounts that cannot be read must not pass for an empty one")
	}
}

func TestFindRefuses(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "file"), "")
	for _, path := range []string{filepath.Join(dir, "file"), filepath.Join(dir, "missing"), dir, "/dev/null"} {
		if _, err := (Machine{}).Find(path); err == nil {
			t.Errorf("%s: taken for a device", path)
		}
	}
}

// FuzzMount reads any line: it is understood, or an error, and what is understood names a device and a place.
func FuzzMount(f *testing.F) {
	f.Add("21 1 8:1 / / rw,relatime shared:1 master:2 - ext4 /dev/sda1 rw\n")
	f.Add("23 21 8:17 / /media/me/MY\\040STICK rw - vfat /dev/sdb1 rw")
	f.Add("36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue")
	f.Add("1 2 0:5 / / rw shared:1 - tmpfs  -  rw")
	f.Add(" - ")
	f.Fuzz(func(t *testing.T, line string) {
		in := &inUse{make(map[string][]string), make(map[string][]string)}
		if err := in.mount(line); err == nil && len(in.mounts) == 0 {
			t.Errorf("%q: no mount and no error", line)
		}
	})
}
