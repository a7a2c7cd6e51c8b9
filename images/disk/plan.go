package disk

import (
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// Places on the disk, in sectors.
const (
	sector    = 512
	gptCore   = 34   // first sector after the partition table
	mbrCore   = 1    // first sector after the MBR
	espFirst  = 2048 // 1 MiB, where every partitioning tool begins
	gptBackup = 33   // the second table, at the end
)

const (
	mebi     = 1 << 20
	minESP   = 64 * mebi  // FAT32 wants 65,525 clusters at least
	largeFAT = 260 * mebi // beyond it clusters are of 4 KiB, up to it of 512 bytes
	maxESP   = 8 << 30    // bytes; more would need larger clusters
	perFile  = 64 << 10   // bytes of a file's last cluster and its directory entries, generously
	fatCost  = 4.0 / 512. // bytes of FAT per byte of data with the smallest clusters
)

// A plan is where everything goes and how it is called.
type plan struct {
	layout   Layout
	size     int64 // of the disk, bytes
	espFirst int64 // sector
	espLast  int64 // sector
	core     int64 // sector of GRUB's core
	epoch    int64 // seconds since 1970, the time of every file

	disk, bios, esp string // GUIDs
	volumeID        uint32 // of the FAT
	signature       uint32 // of the MBR
}

// newPlan places files. Identifiers come from the lock: the same packages give the same disk, and a kernel argument may
// name a partition.
func newPlan(o *Options, files []file) *plan {
	p := &plan{layout: o.Layout, espFirst: espFirst, core: gptCore, epoch: o.Image.Epoch}
	p.disk, p.bios, p.esp = guid(o.Image.Lock, "disk"), guid(o.Image.Lock, "bios-boot"), guid(o.Image.Lock, "esp")
	p.volumeID, p.signature = serial(o.Image.Lock, "volume"), serial(o.Image.Lock, "mbr")
	esp := espBytes(files, o.Free)
	p.espLast = p.espFirst + esp/sector - 1
	p.size = p.espFirst*sector + esp
	if p.layout == MBR {
		p.core = mbrCore
		return p
	}
	p.size += mebi // the second table; whole MiBs suit every tool
	return p
}

// espBytes is the size of a partition that takes the files and has free bytes left, in whole MiB. One that is more than
// half of what large clusters take gets them: boot loaders read a file cluster by cluster.
func espBytes(files []file, free int64) int64 {
	need := float64(total(files)+int64(len(files))*perFile+free) * (1 + 2*fatCost)
	size := max((int64(need)/mebi+1)*mebi, minESP)
	if size > largeFAT/2 && size <= largeFAT {
		size = largeFAT + mebi
	}
	for !fatFits(size) {
		size += mebi
	}
	return size
}

// fatFits says whether the FAT writer makes the FAT long enough: it forgets the two entries that stand for no cluster,
// which matters for one size in sixty.
func fatFits(size int64) bool {
	per := int64(1) // sectors of a cluster
	if size > largeFAT {
		per = 8
	}
	room := size/sector - 32 // reserved
	fat := (4*room + sector*per + 7) / (sector*per + 8)
	return (room-2*fat)/per+2 <= fat*sector/4
}

func (p *plan) espSize() int64 { return (p.espLast - p.espFirst + 1) * sector }

// name identifies the disk to a person.
func (p *plan) name() string {
	if p.layout == MBR {
		return fmt.Sprintf("%08x", p.signature)
	}
	return p.disk
}

// uuid5 is a name-based UUID (RFC 9562 section 5.5) in the name space that the first half of a lock's digest is.
func uuid5(lock, role string) [16]byte {
	space, err := hex.DecodeString(lock)
	if err != nil || len(space) < 16 {
		panic("digest of a lock: " + lock) // the manifest was checked when it was read
	}
	h := sha1.New()
	h.Write(space[:16])
	h.Write([]byte(role))
	var u [16]byte
	copy(u[:], h.Sum(nil))
	u[6] = u[6]&0x0f | 0x50
	u[8] = u[8]&0x3f | 0x80
	return u
}

// guid is the text form that partition tables are given.
func guid(lock, role string) string {
	u := uuid5(lock, role)
	return fmt.Sprintf("%X-%X-%X-%X-%X", u[0:4], u[4:6], u[6:8], u[8:10], u[10:])
}

// serial is a 32-bit identifier, never 0: that means none.
func serial(lock, role string) uint32 {
	u := uuid5(lock, role)
	return binary.LittleEndian.Uint32(u[:]) | 1
}
