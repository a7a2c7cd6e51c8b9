// Package qemu makes QEMU command lines, starts QEMU and speaks QMP with it.
//
// The command line is a pure function of Config and is pinned by golden files. Versions 7.2 (Debian 12) to 10
// (Debian 13) are supported; x86-64 only, direct kernel boot, no graphics.
package qemu

// Config is one guest. Zero values give a diskless, NIC-less, paused-never guest of one CPU.
type Config struct {
	Binary    string  // "qemu-system-x86_64" when empty; not part of the argv Cmdline returns
	Name      string  // shown in process lists
	Machine   string  // "q35" (default) or "pc"
	Accel     string  // "kvm" or "tcg"
	CPUs      int     // 1 when 0
	MemoryMiB int     // 256 when 0
	CPU       string  // -cpu; empty: "qemu64,+rdrand" for tcg, "host" for kvm
	Version   Version // of the binary, for rules that depend on it; zero means new

	Kernel, Initrd string
	CommandLine    []string // joined with blanks
	Firmware       []string // -L folders, in order

	Disks []Disk // virtio-blk, in the order the guest numbers them: vda, vdb ...

	SharedMemory bool // memfd memory that a vhost-user back-end can map; implied by a vhost-user vsock or NIC
	Vsock        Vsock
	NICs         []NIC
	// SpareSlots pre-creates root ports slot0..slotN-1 for hot plugging on q35, whose root bus takes no devices at run
	// time. On pc the bus "pci.0" takes them, and none are made. See HotplugBus.
	SpareSlots int

	QMPSocket     string // QEMU listens
	ConsoleSocket string // first serial port; QEMU listens
	ConsoleFile   string // log of everything the guest writes there

	RTC        string // -rtc value; empty: "base=utc,clock=host"
	NoShutdown bool   // stay after guest shutdown or hibernation (SUSPEND_DISK is lost otherwise)
	NoReboot   bool   // exit instead of rebooting
	// FirmwareConsole has the firmware show on the first serial port what it would show on a screen (SeaBIOS, "sercon").
	FirmwareConsole bool
	Paused          bool     // -S
	NoSeccomp       bool     // leave out -sandbox: for the odd device that needs a forbidden call
	Extra           []string // appended as they are
}

// Disk is a raw image of a disk.
type Disk struct {
	ID       string
	File     string
	ReadOnly bool
	Device   bool // File is a block device of this machine
}

// Ids of the vsock device and of the character device behind one of kind vhost-user, in QMP.
const (
	VsockID      = "vsock0.dev"
	VsockChardev = "vsock0"
)

// Vsock is the guest's vsock device.
type Vsock struct {
	Kind   string // "": none; "vhost-user": Socket is a listening back-end; "kernel": /dev/vhost-vsock
	Socket string
	CID    uint32 // 3 or more; kernel only, the back-end knows its own
}

// NIC is a network card and its back-end.
type NIC struct {
	ID      string // device id; the netdev is ID + ".net" (QMP set_link takes either)
	Model   string // virtio-net-pci, e1000, e1000e, rtl8139, igb ...
	MAC     string
	Options []string // device options as written, "status=off", in this order
	Bus     string   // "" lets Cmdline choose: a root port of its own for PCIe-only models on q35
	Addr    string

	Backend     string   // "tap", "user", "vhost-user", "stream", "none"
	BackendOpts []string // netdev options as written, at the end
	Tap         string   // interface name of an existing tap
	Vhost       bool     // vhost=on; /dev/vhost-net must work: QEMU 7.2 aborts when it does not
	Queues      int      // queue pairs; more than 1 adds mq=on and vectors=2*Queues+2
	Socket      string   // unix socket of vhost-user or stream
	Server      bool     // QEMU listens on Socket
	// BootROM keeps the option ROM. Without it romfile= is empty: a card nobody boots from needs none, and SeaBIOS
	// then spends no time on it.
	BootROM bool
}

// Version is a QEMU version; only the first two parts ever decide anything.
type Version struct{ Major, Minor, Micro int }

// AtLeast says whether v is major.minor or newer. The zero version counts as newer than all.
func (v Version) AtLeast(major, minor int) bool {
	return v == Version{} || v.Major > major || v.Major == major && v.Minor >= minor
}

// SVMCPU is QEMU's default model with what its emulation has of AMD's virtualization, so that a host image under TCG gets
// a /dev/kvm of its own: a guest inside it then runs at TCG's speed instead of TCG's squared.
const SVMCPU = "qemu64,+rdrand,+svm,+npt"
