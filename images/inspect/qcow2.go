package inspect

import (
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// The qcow2 header and table entries, docs/interop/qcow2.rst.
const (
	qcowMagic      = "QFI\xfb"
	qcowHeader     = 104
	qcowCompressed = 1 << 62
	qcowZero       = 1
	qcowOffset     = 0x00fffffffffffe00
	maxL1          = 4 << 20 // entries; 2 EiB with the usual clusters
)

// qcow reads the disk in a qcow2 file.
type qcow struct {
	f    *os.File
	size int64
	bits uint // of a cluster
	l1   []uint64

	table   []uint64 // the L2 table read last
	tableAt uint64
	packed  []byte // the compressed cluster read last, unpacked
	entry   uint64
}

func openQCOW2(f *os.File, head []byte) (*qcow, error) {
	be := binary.BigEndian
	q := &qcow{f: f, size: int64(be.Uint64(head[24:])), bits: uint(be.Uint32(head[20:]))}
	entries, at := be.Uint32(head[36:]), int64(be.Uint64(head[40:]))
	version := be.Uint32(head[4:])
	switch {
	case version != 2 && version != 3:
		return nil, fmt.Errorf("version %d is not known", version)
	case be.Uint64(head[8:]) != 0:
		return nil, errors.New("it has a backing file; make it whole with qemu-img convert")
	case be.Uint32(head[32:]) != 0:
		return nil, errors.New("it is encrypted")
	case version == 3 && be.Uint64(head[72:])&^1 != 0: // the dirty bit does no harm to a reader
		return nil, fmt.Errorf("it needs features %#x that are not known", be.Uint64(head[72:]))
	case q.bits < 9 || q.bits > 21 || q.size < 0 || entries > maxL1 || at < 0:
		return nil, errors.New("sizes out of bounds")
	}
	var err error
	q.l1, err = q.readTable(at, int(entries))
	return q, err
}

func (q *qcow) readTable(at int64, entries int) ([]uint64, error) {
	data := make([]byte, entries*8)
	if _, err := q.f.ReadAt(data, at); err != nil {
		return nil, fmt.Errorf("table at byte %d: the file is cut off: %w", at, err)
	}
	table := make([]uint64, entries)
	for i := range table {
		table[i] = binary.BigEndian.Uint64(data[8*i:])
	}
	return table, nil
}

// ReadAt reads from the disk.
func (q *qcow) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		if off >= q.size {
			return n, io.EOF
		}
		at := off & (1<<q.bits - 1)
		part := p[n:min(int64(len(p)), int64(n)+min(1<<q.bits-at, q.size-off))]
		if err := q.readCluster(part, off>>q.bits, at); err != nil {
			return n, err
		}
		n += len(part)
		off += int64(len(part))
	}
	return n, nil
}

// readCluster reads from byte at of cluster n.
func (q *qcow) readCluster(p []byte, n, at int64) error {
	entry, err := q.find(n)
	switch {
	case err != nil:
		return err
	case entry&qcowCompressed != 0:
		return q.readCompressed(p, entry, at)
	case entry&qcowZero != 0 || entry&qcowOffset == 0:
		clear(p)
		return nil
	}
	_, err = q.f.ReadAt(p, int64(entry&qcowOffset)+at)
	if errors.Is(err, io.EOF) {
		return errors.New("qcow2: the file is cut off")
	}
	return err
}

// find returns the L2 entry of a cluster, 0 without one.
func (q *qcow) find(n int64) (uint64, error) {
	each := int64(1) << (q.bits - 3)
	if n/each >= int64(len(q.l1)) {
		return 0, errors.New("qcow2: the disk is larger than its tables")
	}
	at := q.l1[n/each] & qcowOffset
	if at == 0 {
		return 0, nil
	}
	if at != q.tableAt {
		table, err := q.readTable(int64(at), int(each))
		if err != nil {
			return 0, err
		}
		q.table, q.tableAt = table, at
	}
	return q.table[n%each], nil
}

// readCompressed unpacks a cluster (deflate without a header): the entry has the offset in its low bits and the number
// of further sectors of 512 bytes above them.
func (q *qcow) readCompressed(p []byte, entry uint64, at int64) error {
	if entry != q.entry {
		low := 62 - (q.bits - 8)
		offset := entry & (1<<low - 1)
		sectors := entry&(1<<62-1)>>low + 1
		in := flate.NewReader(io.NewSectionReader(q.f, int64(offset), int64(sectors)*512-int64(offset&511)))
		cluster := make([]byte, 1<<q.bits)
		if _, err := io.ReadFull(in, cluster); err != nil {
			return fmt.Errorf("qcow2: compressed cluster at byte %d: %w", offset, err)
		}
		q.packed, q.entry = cluster, entry
	}
	copy(p, q.packed[at:])
	return nil
}
