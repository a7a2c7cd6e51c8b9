package disk

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"os"
)

// A qcow2 file here has clusters of 64 KiB and reference counts of 16 bits: QEMU's defaults.
const (
	qcowBits    = 16
	qcowCluster = 1 << qcowBits
	qcowEntries = qcowCluster / 8 // of a table
	qcowCounts  = qcowCluster / 2 // of a block of reference counts
	qcowCopied  = 1 << 63         // the cluster has one user
	qcowHeader  = 104
)

// qcow lays a file out: header, table of reference counts, their blocks, table of tables (L1), tables (L2), data.
type qcow struct {
	size   int64   // of the disk
	data   []int64 // numbers of the disk's clusters that are not all zeros
	tables []int64 // numbers of the L2 tables that have entries

	countTable, counts, l1, l2, first, end int64 // clusters of the file where each part begins, and the end
}

// writeQCOW2 writes disk to w in the order of the file. Clusters of zeros are left out.
func writeQCOW2(ctx context.Context, w *os.File, disk *io.SectionReader) error {
	q := &qcow{size: disk.Size()}
	if err := q.scan(ctx, disk); err != nil {
		return err
	}
	q.place()
	return q.write(ctx, w, disk)
}

// write writes every part.
func (q *qcow) write(ctx context.Context, w *os.File, disk *io.SectionReader) error {
	for _, part := range []struct {
		at   int64
		data []byte
	}{{0, q.header()}, {q.countTable, q.countTables()}, {q.counts, q.countBlocks()}, {q.l1, q.l1Table()}, {q.l2, q.l2Tables()}} {
		if _, err := w.WriteAt(part.data, part.at<<qcowBits); err != nil {
			return err
		}
	}
	return q.copy(ctx, w, disk)
}

// scan finds the clusters that have data.
func (q *qcow) scan(ctx context.Context, disk *io.SectionReader) error {
	buf, zero := make([]byte, qcowCluster), make([]byte, qcowCluster)
	for n := int64(0); n<<qcowBits < q.size; n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		got, err := readCluster(disk, n, buf)
		if err != nil {
			return err
		}
		if !bytes.Equal(got, zero[:len(got)]) {
			q.add(n)
		}
	}
	return nil
}

// add takes cluster n of the disk in; they come in ascending order.
func (q *qcow) add(n int64) {
	q.data = append(q.data, n)
	if t := n / qcowEntries; len(q.tables) == 0 || q.tables[len(q.tables)-1] != t {
		q.tables = append(q.tables, t)
	}
}

func readCluster(disk *io.SectionReader, n int64, buf []byte) ([]byte, error) {
	got := buf[:min(qcowCluster, disk.Size()-n<<qcowBits)]
	_, err := disk.ReadAt(got, n<<qcowBits)
	if err == io.EOF {
		err = nil
	}
	return got, err
}

// place counts clusters. Reference counts count their own clusters too.
func (q *qcow) place() {
	rest := 1 + clusters(q.l1Entries()*8) + int64(len(q.tables)+len(q.data))
	blocks, tables := int64(0), int64(0)
	for {
		b := (rest + blocks + tables + qcowCounts - 1) / qcowCounts
		t := clusters(b * 8)
		if b == blocks && t == tables {
			break
		}
		blocks, tables = b, t
	}
	q.countTable = 1
	q.counts = q.countTable + tables
	q.l1 = q.counts + blocks
	q.l2 = q.l1 + clusters(q.l1Entries()*8)
	q.first = q.l2 + int64(len(q.tables))
	q.end = q.first + int64(len(q.data))
}

func clusters(bytes int64) int64 { return (bytes + qcowCluster - 1) >> qcowBits }

func (q *qcow) l1Entries() int64 {
	return (clusters(q.size) + qcowEntries - 1) / qcowEntries
}

func (q *qcow) header() []byte {
	be := binary.BigEndian
	b := append([]byte("QFI\xfb"), 0, 0, 0, 3)
	b = be.AppendUint64(b, 0) // no backing file
	b = be.AppendUint32(b, 0)
	b = be.AppendUint32(b, qcowBits)
	b = be.AppendUint64(b, uint64(q.size))
	b = be.AppendUint32(b, 0) // not encrypted
	b = be.AppendUint32(b, uint32(q.l1Entries()))
	b = be.AppendUint64(b, uint64(q.l1<<qcowBits))
	b = be.AppendUint64(b, uint64(q.countTable<<qcowBits))
	b = be.AppendUint32(b, uint32(q.counts-q.countTable))
	b = append(b, make([]byte, 4+8+3*8)...) // no snapshots, no features
	b = be.AppendUint32(b, 4)               // 2^4 bits of a reference count
	b = be.AppendUint32(b, qcowHeader)
	return append(b, make([]byte, 8)...) // no header extensions
}

// countTables points to the blocks of reference counts.
func (q *qcow) countTables() []byte {
	b := make([]byte, 0, (q.counts-q.countTable)<<qcowBits)
	for c := q.counts; c < q.l1; c++ {
		b = binary.BigEndian.AppendUint64(b, uint64(c<<qcowBits))
	}
	return b[:cap(b)]
}

// countBlocks says that each cluster of the file has one user.
func (q *qcow) countBlocks() []byte {
	b := make([]byte, (q.l1-q.counts)<<qcowBits)
	for c := range q.end {
		binary.BigEndian.PutUint16(b[2*c:], 1)
	}
	return b
}

func (q *qcow) l1Table() []byte {
	b := make([]byte, (q.l2-q.l1)<<qcowBits)
	for i, t := range q.tables {
		binary.BigEndian.PutUint64(b[8*t:], uint64(q.l2+int64(i))<<qcowBits|qcowCopied)
	}
	return b
}

func (q *qcow) l2Tables() []byte {
	b := make([]byte, (q.first-q.l2)<<qcowBits)
	table := -1
	for i, n := range q.data {
		if table < 0 || q.tables[table] != n/qcowEntries {
			table++
		}
		at := table<<qcowBits + int(n%qcowEntries)*8
		binary.BigEndian.PutUint64(b[at:], uint64(q.first+int64(i))<<qcowBits|qcowCopied)
	}
	return b
}

// copy writes the data. The file ends with a whole cluster.
func (q *qcow) copy(ctx context.Context, w *os.File, disk *io.SectionReader) error {
	if err := w.Truncate(q.end << qcowBits); err != nil {
		return err
	}
	buf := make([]byte, qcowCluster)
	for i, n := range q.data {
		if err := ctx.Err(); err != nil {
			return err
		}
		got, err := readCluster(disk, n, buf)
		if err != nil {
			return err
		}
		if _, err := w.WriteAt(got, (q.first+int64(i))<<qcowBits); err != nil {
			return err
		}
	}
	return nil
}
