package inspect

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"unicode/utf16"
)

// Bounds of what is read of a FAT.
const (
	maxFAT     = 256 << 20 // bytes of the table; FAT32 has at most 1 GiB
	maxFolder  = 16 << 20  // bytes of a folder; FAT has 2 MiB
	maxFolders = 10_000
	dirEntry   = 32
	firstData  = 2          // number of the first cluster
	endOfChain = 0x0ffffff8 // and above
)

var errNotFAT = errors.New("no FAT32")

// fat is a FAT32 volume.
type fat struct {
	r       *io.SectionReader
	cluster int64 // bytes
	data    int64 // byte of the first cluster
	table   []uint32
	root    uint32
	serial  uint32
}

// node is a file or folder.
type node struct {
	name  string
	dir   bool
	first uint32
	size  int64
}

func openFAT(r *io.SectionReader) (*fat, error) {
	b := make([]byte, sector)
	if _, err := r.ReadAt(b, 0); err != nil || string(b[82:87]) != "FAT32" || b[510] != 0x55 || b[511] != 0xaa {
		return nil, errNotFAT
	}
	le := binary.LittleEndian
	bytesPerSector, perCluster := int64(le.Uint16(b[11:])), int64(b[13])
	reserved, copies, length := int64(le.Uint16(b[14:])), int64(b[16]), int64(le.Uint32(b[36:]))
	v := &fat{r: r, cluster: bytesPerSector * perCluster, root: le.Uint32(b[44:]), serial: le.Uint32(b[67:])}
	v.data = (reserved + copies*length) * bytesPerSector
	clusters := int64(0)
	if v.cluster > 0 {
		clusters = (int64(le.Uint32(b[32:]))*bytesPerSector - v.data) / v.cluster
	}
	if bytesPerSector != sector || perCluster == 0 || clusters <= 0 || length*sector > maxFAT || length*sector < 4*(clusters+firstData) || v.data > r.Size() || reserved*sector+length*sector > r.Size() {
		return nil, errors.New("FAT32: sizes out of bounds")
	}
	raw := make([]byte, 4*(clusters+firstData))
	if _, err := r.ReadAt(raw, reserved*sector); err != nil {
		return nil, fmt.Errorf("FAT32: read table: %w", err)
	}
	v.table = make([]uint32, clusters+firstData)
	for i := range v.table {
		v.table[i] = le.Uint32(raw[4*i:]) & 0x0fffffff
	}
	return v, nil
}

// chain returns the clusters that follow first. Each may come once: a loop is an error.
func (v *fat) chain(first uint32, most int64) ([]uint32, error) {
	var list []uint32
	for c := first; c < endOfChain; c = v.table[c] {
		if c < firstData || int64(c) >= int64(len(v.table)) || len(list) > len(v.table) || int64(len(list))*v.cluster > most {
			return nil, fmt.Errorf("FAT32: chain of cluster %d is damaged", first)
		}
		list = append(list, c)
	}
	return list, nil
}

// content reads a chain, at most size bytes; for folders size is negative: the chain says how long they are.
func (v *fat) content(n node) (io.Reader, error) {
	if n.size == 0 && !n.dir {
		return strings.NewReader(""), nil
	}
	most := n.size
	if n.dir {
		most = maxFolder
	}
	list, err := v.chain(n.first, most)
	if err != nil {
		return nil, err
	}
	if length := int64(len(list)) * v.cluster; n.dir {
		most = length
	} else if length < n.size {
		return nil, fmt.Errorf("FAT32: %s has %d bytes, its clusters %d", n.name, n.size, length)
	}
	return io.LimitReader(&chained{v: v, list: list}, most), nil
}

// chained reads one cluster after the other, as many as lie together at a time.
type chained struct {
	v    *fat
	list []uint32
	at   int64 // byte in the first of list
}

func (c *chained) Read(p []byte) (int, error) {
	if len(c.list) == 0 {
		return 0, io.EOF
	}
	run := 1
	for run < len(c.list) && c.list[run] == c.list[0]+uint32(run) {
		run++
	}
	p = p[:min(int64(len(p)), int64(run)*c.v.cluster-c.at)]
	n, err := c.v.r.ReadAt(p, c.v.data+int64(c.list[0]-firstData)*c.v.cluster+c.at)
	c.at += int64(n)
	c.list, c.at = c.list[c.at/c.v.cluster:], c.at%c.v.cluster
	if errors.Is(err, io.EOF) && n == len(p) {
		err = nil
	}
	return n, err
}

// entries reads a folder.
func (v *fat) entries(dir node) ([]node, error) {
	r, err := v.content(dir)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("FAT32: read folder %s: %w", dir.name, err)
	}
	var out []node
	long := map[int]string{} // parts of a long name by number
	for ; len(data) >= dirEntry && data[0] != 0; data = data[dirEntry:] {
		switch e := data[:dirEntry]; {
		case e[0] == 0xe5: // deleted
		case e[11] == 0x0f:
			long[int(e[0]&0x1f)] = longPart(e)
			continue
		case e[11]&0x08 == 0 && e[0] != '.':
			out = append(out, entry(e, long))
		}
		clear(long)
	}
	return out, nil
}

func entry(e []byte, long map[int]string) node {
	le := binary.LittleEndian
	n := node{name: shortName(e), dir: e[11]&0x10 != 0, size: int64(le.Uint32(e[28:]))}
	n.first = uint32(le.Uint16(e[20:]))<<16 | uint32(le.Uint16(e[26:]))
	var name strings.Builder
	for i := 1; long[i] != ""; i++ {
		name.WriteString(long[i])
	}
	if name.Len() > 0 {
		n.name = name.String()
	}
	return n
}

// longPart returns the 13 characters of a part of a long name.
func longPart(e []byte) string {
	var s []uint16
	for _, field := range [][2]int{{1, 11}, {14, 26}, {28, 32}} {
		for i := field[0]; i < field[1]; i += 2 {
			if c := binary.LittleEndian.Uint16(e[i:]); c != 0 && c != 0xffff {
				s = append(s, c)
			}
		}
	}
	return string(utf16.Decode(s))
}

func shortName(e []byte) string {
	name, ending := strings.TrimRight(string(e[:8]), " "), strings.TrimRight(string(e[8:11]), " ")
	if ending != "" {
		name += "." + ending
	}
	return strings.ToLower(name)
}

// find follows a path; names are compared as FAT does, whatever their case.
func (v *fat) find(path string) (node, error) {
	n := node{name: "/", dir: true, first: v.root}
next:
	for name := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if !n.dir {
			break
		}
		list, err := v.entries(n)
		if err != nil {
			return n, err
		}
		for _, e := range list {
			if strings.EqualFold(e.name, name) {
				n = e
				continue next
			}
		}
		return n, fmt.Errorf("%s: %w", path, fs.ErrNotExist)
	}
	return n, nil
}

func (v *fat) isDir(path string) bool {
	n, err := v.find(path)
	return err == nil && n.dir
}

func (v *fat) list(path string) ([]node, error) {
	n, err := v.find(path)
	if err != nil || !n.dir {
		return nil, errors.Join(err, fs.ErrNotExist)
	}
	return v.entries(n)
}

func (v *fat) open(path string) (io.ReadCloser, error) {
	n, err := v.find(path)
	if err != nil {
		return nil, err
	}
	if n.dir {
		return nil, fmt.Errorf("%s is a folder", path)
	}
	r, err := v.content(n)
	return io.NopCloser(r), err
}

func (v *fat) readFile(path string, most int64) ([]byte, error) {
	r, err := v.open(path)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("%s is larger than %d bytes", path, most)
	}
	return data, err
}

// usage returns the bytes that are free, and those of all files.
func (v *fat) usage() (free, files int64, err error) {
	for _, c := range v.table[firstData:] {
		if c == 0 {
			free += v.cluster
		}
	}
	files, err = v.below(node{name: "/", dir: true, first: v.root}, map[uint32]bool{})
	return free, files, err
}

// below sums the files of a folder up. A folder that comes twice is damage, and would never end.
func (v *fat) below(dir node, seen map[uint32]bool) (n int64, err error) {
	if seen[dir.first] || len(seen) > maxFolders {
		return 0, fmt.Errorf("FAT32: folder %s is in itself, in two places, or one too many", dir.name)
	}
	seen[dir.first] = true
	list, err := v.entries(dir)
	for _, e := range list {
		size := e.size
		if e.dir {
			if size, err = v.below(e, seen); err != nil {
				return 0, err
			}
		}
		n += size
	}
	return n, err
}
