package deb

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"picolab/initramfs/internal/decompress"
)

// maxControl bounds the control file itself; Debian's largest are a few KiB.
const maxControl = 1 << 20

// readControl finds and parses the file "control" of control.tar.
func readControl(m member, limits Limits) (Control, error) {
	fields, err := controlFields(m, limits)
	if err != nil {
		return Control{}, err
	}
	return controlOf(fields)
}

// Fields returns the fields of a package's control file by their names in lower case (deb-control(5)).
func Fields(r io.ReaderAt, size int64) (map[string]string, error) {
	parts, err := open(r, size)
	if err != nil {
		return nil, err
	}
	return controlFields(parts.control, Limits{}.withDefaults())
}

func controlFields(m member, limits Limits) (map[string]string, error) {
	r, done, err := m.stream(limits.Control)
	if err != nil {
		return nil, err
	}
	defer done()
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return nil, errors.New("no control file")
		}
		if err != nil {
			return nil, err
		}
		if h.Typeflag == tar.TypeReg && path.Clean(h.Name) == "control" {
			return parseFields(decompress.Limit(tr, maxControl))
		}
	}
}

// parseFields reads the first paragraph of a control file. Continuation lines
// are passed over: none of the fields wanted has any.
func parseFields(r io.Reader) (map[string]string, error) {
	fields := map[string]string{}
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxControl)
	for s.Scan() && strings.TrimSpace(s.Text()) != "" {
		name, value, ok := strings.Cut(s.Text(), ":")
		if ok && !strings.HasPrefix(name, " ") && !strings.HasPrefix(name, "\t") {
			fields[strings.ToLower(name)] = strings.TrimSpace(value)
		}
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("read control file: %w", err)
	}
	return fields, nil
}

func controlOf(fields map[string]string) (Control, error) {
	c := Control{
		Package: fields["package"], Version: fields["version"], Architecture: fields["architecture"],
		Maintainer: fields["maintainer"], Homepage: fields["homepage"],
	}
	c.Source, c.SourceVersion = source(fields["source"], c)
	return c, c.check()
}

// source splits a Source field, "name" or "name (version)".
func source(field string, c Control) (name, version string) {
	name, version, _ = strings.Cut(strings.TrimSuffix(field, ")"), " (")
	if name == "" {
		name = c.Package
	}
	if version == "" {
		version = c.Version
	}
	return name, version
}

func (c Control) check() error {
	switch {
	case c.Package == "" || c.Version == "" || c.Architecture == "":
		return errors.New("control file lacks Package, Version or Architecture")
	case strings.ContainsAny(c.Package, "/ \x00"):
		return fmt.Errorf("package name %.80q is not one", c.Package)
	}
	return nil
}
