package kmod

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"strings"

	"picolab/initramfs/tree"
)

// maxModinfo bounds the .modinfo section; the longest of Debian's, with
// thousands of aliases, are near 100 KiB.
const maxModinfo = 4 << 20

// parse reads the .modinfo section of a module: records "key=value", each
// ended by NUL (linux/moduleparam.h, modinfo(8)).
func parse(data []byte) (m Module, err error) {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return Module{}, fmt.Errorf("read module: %w", err)
	}
	section := f.Section(".modinfo")
	if section == nil || section.Type == elf.SHT_NOBITS {
		return Module{}, errors.New("read module: no .modinfo section")
	}
	if section.Size > maxModinfo {
		return Module{}, fmt.Errorf("read module: .modinfo of %d bytes", section.Size)
	}
	info, err := section.Data()
	if err != nil {
		return Module{}, fmt.Errorf("read module: %w", err)
	}
	return parseModinfo(string(info)), nil
}

func parseModinfo(info string) Module {
	var m Module
	for record := range strings.SplitSeq(info, "\x00") {
		key, value, _ := strings.Cut(record, "=")
		switch key {
		case "depends":
			m.Depends = append(m.Depends, names(value)...)
		case "alias":
			m.Aliases = append(m.Aliases, value)
		case "softdep":
			m.softdeps = append(m.softdeps, value)
			m.addSoft(value)
		case "license":
			m.License = value
		case "vermagic":
			m.Vermagic = value
		case "firmware":
			m.Firmware = append(m.Firmware, value)
		}
	}
	return m
}

func names(list string) []string {
	var out []string
	for name := range strings.SplitSeq(list, ",") {
		if name != "" {
			out = append(out, normalize(name))
		}
	}
	return out
}

// addSoft parses "pre: a b post: c"; like modprobe it passes over what stands
// before the first of the two words.
func (m *Module) addSoft(value string) {
	var list *[]string
	for _, word := range strings.Fields(value) {
		switch {
		case word == "pre:":
			list = &m.SoftPre
		case word == "post:":
			list = &m.SoftPost
		case list != nil:
			*list = append(*list, word)
		}
	}
}

// readAll reads r into a buffer that begins with room for guess bytes.
func readAll(r io.Reader, guess int) ([]byte, error) {
	buf := bytes.NewBuffer(make([]byte, 0, guess))
	_, err := buf.ReadFrom(r)
	return buf.Bytes(), err
}

// Describe reads what one module file says of itself; name is its file name, which tells the compression.
func Describe(b tree.Blob, name string) (Module, error) {
	f := fileAt(name)
	f.blob = b
	o, err := f.open()
	if err != nil {
		return Module{}, fmt.Errorf("module %s: %w", name, err)
	}
	return o.Module, nil
}
