package deb

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Layout of the ar container: a magic string, then members, each a header of
// headerSize bytes and its content padded to an even length. deb(5), ar.h.
const (
	arMagic    = "!<arch>\n"
	headerSize = 60
	nameEnd    = 16 // member name, padded with blanks
	sizeStart  = 48 // decimal size, padded with blanks
	sizeEnd    = 58
	headerEnd  = "`\n"
	maxMembers = 16 // deb(5) knows three and allows a few of the future
)

// member is one file in the container.
type member struct {
	*io.SectionReader
	name   string
	suffix string // of the compression, e.g. ".xz"
}

// parts are the members that a package must have.
type parts struct{ control, data member }

// open finds the parts of a package. As in deb(5): debian-binary comes first
// and says 2.x, then control.tar, then data.tar; members whose name starts
// with "_" are ignored between them, everything is after data.tar.
func open(r io.ReaderAt, size int64) (parts, error) {
	members, err := readAr(r, size)
	if err != nil {
		return parts{}, err
	}
	if len(members) == 0 || members[0].name != "debian-binary" {
		return parts{}, errors.New("not a package: no debian-binary at its start")
	}
	if err := checkVersion(members[0]); err != nil {
		return parts{}, err
	}
	var p parts
	rest, err := expect(members[1:], "control.tar", &p.control)
	if err != nil {
		return parts{}, err
	}
	_, err = expect(rest, "data.tar", &p.data)
	return p, err
}

// expect takes the next member not to be ignored, which must be base with one
// of the known suffixes, and returns those after it.
func expect(members []member, base string, out *member) ([]member, error) {
	for i, m := range members {
		if strings.HasPrefix(m.name, "_") {
			continue
		}
		suffix, ok := strings.CutPrefix(m.name, base)
		if !ok {
			return nil, fmt.Errorf("member %q where %s should be", m.name, base)
		}
		m.suffix = suffix
		*out = m
		return members[i+1:], nil
	}
	return nil, fmt.Errorf("no %s", base)
}

func checkVersion(m member) error {
	text := make([]byte, min(m.Size(), 16))
	if _, err := m.ReadAt(text, 0); err != nil && err != io.EOF {
		return fmt.Errorf("read debian-binary: %w", err)
	}
	if !strings.HasPrefix(string(text), "2.") {
		return fmt.Errorf("format %.8q is not 2.x", text)
	}
	return nil
}

// readAr lists the members of the container in the size bytes of r.
func readAr(r io.ReaderAt, size int64) ([]member, error) {
	magic := make([]byte, len(arMagic))
	if _, err := r.ReadAt(magic, 0); err != nil || string(magic) != arMagic {
		return nil, errors.New("not a package: no ar magic at its start")
	}
	var members []member
	for at := int64(len(arMagic)); at < size; {
		if len(members) == maxMembers {
			return nil, fmt.Errorf("more than %d ar members", maxMembers)
		}
		m, length, err := readMember(r, at, size)
		if err != nil {
			return nil, fmt.Errorf("ar member at byte %d: %w", at, err)
		}
		members = append(members, m)
		at += headerSize + length + length%2
	}
	return members, nil
}

// readMember reads the header at byte at and returns the member with its
// length, which is checked to be inside the container.
func readMember(r io.ReaderAt, at, size int64) (member, int64, error) {
	h := make([]byte, headerSize)
	if size-at < headerSize {
		return member{}, 0, io.ErrUnexpectedEOF
	}
	if _, err := r.ReadAt(h, at); err != nil && err != io.EOF {
		return member{}, 0, err
	}
	if string(h[sizeEnd:]) != headerEnd {
		return member{}, 0, errors.New("bad header")
	}
	length, err := strconv.ParseUint(strings.TrimRight(string(h[sizeStart:sizeEnd]), " "), 10, 40)
	if err != nil {
		return member{}, 0, fmt.Errorf("bad size: %w", err)
	}
	if int64(length) > size-at-headerSize {
		return member{}, 0, fmt.Errorf("%d bytes long, but the package ends after %d", length, size-at-headerSize)
	}
	name := strings.TrimRight(string(h[:nameEnd]), " ")
	name = strings.TrimSuffix(name, "/") // GNU ar ends names so
	body := io.NewSectionReader(r, at+headerSize, int64(length))
	return member{SectionReader: body, name: name}, int64(length), nil
}
