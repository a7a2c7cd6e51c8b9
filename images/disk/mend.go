package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// Offsets in the first sector of a FAT32 volume, in its FSInfo sector, and in a directory entry (FAT specification 1.03,
// sections "Boot Sector and BPB", "FAT32 FSInfo Sector Structure", "FAT Directory Structure").
const (
	bpbBytesPerSector    = 11
	bpbSectorsPerCluster = 13
	bpbReserved          = 14
	bpbFATs              = 16
	bpbHidden            = 28
	bpbSectors           = 32
	bpbSectorsPerFAT     = 36
	bpbRoot              = 44
	bpbInfo              = 48
	bpbBackup            = 50
	bpbVolumeID          = 67

	infoFree = 488
	infoNext = 492

	entrySize     = 32
	entryAttr     = 11
	entryCreated  = 13 // tenths, time, date, date of last access
	entryHigh     = 20 // upper half of the first cluster
	entryWritten  = 22 // time, date
	entryLow      = 26
	attrDirectory = 0x10
	attrLongName  = 0x0f

	endOfChain  = 0x0ffffff8
	clusterMask = 0x0fffffff
)

// A volume is the FAT32 file system at an offset of a disk.
type volume struct {
	disk interface {
		io.ReaderAt
		io.WriterAt
	}
	offset int64 // bytes
	hidden int64 // sectors before it on the disk
}

// geometry is what a volume's first sector says.
type geometry struct {
	cluster      int64 // bytes
	fat          int64 // offset of the first FAT in the volume, bytes
	data         int64 // offset of cluster 2
	root         uint32
	clusters     uint32
	info, backup int64 // offsets of the FSInfo sector and of the copy of the first sectors
	next         []uint32
}

// mend makes what the FAT writer leaves fit for fsck.fat, and the same each time: parents of top folders are cluster 0,
// FSInfo counts, every time is epoch, the volume has an ID and knows where it is. Only sectors that change are written.
func (v volume) mend(id uint32, epoch int64) error {
	g, err := v.read()
	if err != nil {
		return err
	}
	if err := v.directory(g, g.root, true, stamp(epoch), make(map[uint32]bool)); err != nil {
		return err
	}
	for _, at := range []int64{0, g.backup} {
		if err := v.bootSector(at, id); err != nil {
			return err
		}
		if err := v.infoSector(at+g.info, g); err != nil {
			return err
		}
	}
	return nil
}

func (v volume) read() (*geometry, error) {
	b, err := v.at(0, sector)
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	reserved, fats, size := int64(le.Uint16(b[bpbReserved:])), int64(b[bpbFATs]), int64(le.Uint32(b[bpbSectorsPerFAT:]))
	per := int64(b[bpbSectorsPerCluster])
	if le.Uint16(b[bpbBytesPerSector:]) != sector || per == 0 || size == 0 || b[510] != 0x55 || b[511] != 0xaa {
		return nil, errors.New("no FAT32 with sectors of 512 bytes")
	}
	data := reserved + fats*size
	g := &geometry{
		cluster: per * sector, fat: reserved * sector, data: data * sector,
		root: le.Uint32(b[bpbRoot:]), clusters: uint32((int64(le.Uint32(b[bpbSectors:])) - data) / per),
		info: int64(le.Uint16(b[bpbInfo:])) * sector, backup: int64(le.Uint16(b[bpbBackup:])) * sector,
	}
	table, err := v.at(g.fat, size*sector)
	if err != nil {
		return nil, err
	}
	if int64(g.clusters)+2 > size*sector/4 {
		return nil, errors.New("the FAT is shorter than the volume")
	}
	for i := range g.clusters + 2 {
		g.next = append(g.next, le.Uint32(table[i*4:])&clusterMask)
	}
	return g, nil
}

func (v volume) at(offset, n int64) ([]byte, error) {
	b := make([]byte, n)
	_, err := v.disk.ReadAt(b, v.offset+offset)
	return b, err
}

// update writes the sectors of after that differ from before.
func (v volume) update(offset int64, before, after []byte) error {
	for i := 0; i < len(after); i += sector {
		if s := after[i : i+sector]; !bytes.Equal(s, before[i:i+sector]) {
			if _, err := v.disk.WriteAt(s, v.offset+offset+int64(i)); err != nil {
				return err
			}
		}
	}
	return nil
}

// directory mends the folder that begins at a cluster, and those below it. seen has every cluster walked so far.
func (v volume) directory(g *geometry, cluster uint32, top bool, now [4]uint16, seen map[uint32]bool) error {
	for cluster < endOfChain {
		if cluster < 2 || cluster >= g.clusters+2 || seen[cluster] {
			return fmt.Errorf("cluster %d of a folder is wrong", cluster)
		}
		seen[cluster] = true
		offset := g.data + int64(cluster-2)*g.cluster
		before, err := v.at(offset, g.cluster)
		if err != nil {
			return err
		}
		after := bytes.Clone(before)
		below := mendEntries(after, now)
		if err := v.update(offset, before, after); err != nil {
			return err
		}
		for _, c := range below {
			if err := v.folder(g, c, top, now, seen); err != nil {
				return err
			}
		}
		cluster = g.next[cluster]
	}
	return nil
}

// folder mends the folder at a cluster; one in the root has its second entry, "..", point to cluster 0.
func (v volume) folder(g *geometry, cluster uint32, top bool, now [4]uint16, seen map[uint32]bool) error {
	if err := v.directory(g, cluster, false, now, seen); err != nil || !top {
		return err
	}
	offset := g.data + int64(cluster-2)*g.cluster
	before, err := v.at(offset, sector)
	if err != nil {
		return err
	}
	after := bytes.Clone(before)
	parent := after[entrySize : 2*entrySize]
	if string(parent[:2]) != ".." {
		return fmt.Errorf("the folder at cluster %d has no parent", cluster)
	}
	binary.LittleEndian.PutUint16(parent[entryHigh:], 0)
	binary.LittleEndian.PutUint16(parent[entryLow:], 0)
	return v.update(offset, before, after)
}

// mendEntries sets the times of every entry in part of a folder, and returns the first clusters of the folders in it.
func mendEntries(b []byte, now [4]uint16) (below []uint32) {
	le := binary.LittleEndian
	for ; len(b) > 0 && b[0] != 0; b = b[entrySize:] {
		if b[0] == 0xe5 || b[entryAttr]&0x3f == attrLongName {
			continue
		}
		b[entryCreated] = 0
		le.PutUint16(b[entryCreated+1:], now[0])
		le.PutUint16(b[entryCreated+3:], now[1])
		le.PutUint16(b[entryCreated+5:], now[1])
		le.PutUint16(b[entryWritten:], now[0])
		le.PutUint16(b[entryWritten+2:], now[1])
		if b[entryAttr]&attrDirectory != 0 && b[0] != '.' {
			below = append(below, uint32(le.Uint16(b[entryHigh:]))<<16|uint32(le.Uint16(b[entryLow:])))
		}
	}
	return below
}

// stamp is a time as FAT has it: the time of day in 2 s, and the date from 1980. FAT knows no time zones; this is UTC.
func stamp(epoch int64) (now [4]uint16) {
	t := time.Unix(epoch, 0).UTC()
	if t.Year() < 1980 {
		t = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	now[0] = uint16(t.Hour()<<11 | t.Minute()<<5 | t.Second()/2)
	now[1] = uint16((t.Year()-1980)<<9 | int(t.Month())<<5 | t.Day())
	return now
}

func (v volume) bootSector(at int64, id uint32) error {
	before, err := v.at(at, sector)
	if err != nil {
		return err
	}
	after := bytes.Clone(before)
	binary.LittleEndian.PutUint32(after[bpbHidden:], uint32(v.hidden))
	binary.LittleEndian.PutUint32(after[bpbVolumeID:], id)
	return v.update(at, before, after)
}

// infoSector sets the number of free clusters and the first of them.
func (v volume) infoSector(at int64, g *geometry) error {
	before, err := v.at(at, sector)
	if err != nil {
		return err
	}
	if string(before[:4]) != "RRaA" {
		return fmt.Errorf("no FSInfo in sector %d", at/sector)
	}
	free, first := uint32(0), uint32(0)
	for c := uint32(2); c < g.clusters+2; c++ {
		if g.next[c] == 0 {
			free++
			if first == 0 {
				first = c
			}
		}
	}
	after := bytes.Clone(before)
	binary.LittleEndian.PutUint32(after[infoFree:], free)
	binary.LittleEndian.PutUint32(after[infoNext:], first)
	return v.update(at, before, after)
}
