package debian

import (
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// maxPackage is the largest .deb that is believed, in bytes.
const maxPackage = 8 << 30

var (
	packageShape = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`)
	digestShape  = regexp.MustCompile(`^[0-9a-f]{64}$`)
	pathShape    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9+._~/=,@-]*$`)
	sourceShape  = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+( \([0-9A-Za-z.+~:-]+\))?$`)
)

// A Package is one stanza of a Packages index, as far as locks need it. Relations are unparsed.
type Package struct {
	Name, Version, Architecture string
	Source                      string // "name", or "name (version)" when the source's version differs
	Priority                    string
	Filename                    string // relative to the archive's root, clean
	Size                        int64  // bytes
	SHA256                      string
	Depends, PreDepends         string
	Provides, Conflicts, Breaks string

	Suite string // which suite it was found in; set by [Index.Add]
}

// ParsePackages reads a Packages index. Packages of other architectures are left out; a stanza that lacks what a lock
// needs, or holds what no archive would, is an error: the index is signed, so it is not damage but an attack or a bug.
func ParsePackages(text []byte, architecture string) ([]*Package, error) {
	var out []*Package
	err := Stanzas(text, func(s Stanza) error {
		p := packageOf(s)
		if p.Architecture != architecture && p.Architecture != "all" && p.Architecture != "" {
			return nil
		}
		if err := p.fill(s); err != nil {
			return fmt.Errorf("package %.60q: %w", p.Name, err)
		}
		out = append(out, p)
		return nil
	})
	return out, err
}

// packageOf takes the texts of a stanza in one pass; an index has sixty thousand of them.
func packageOf(s Stanza) *Package {
	p := new(Package)
	for _, f := range s {
		switch f.Name {
		case "Package":
			p.Name = f.Value
		case "Version":
			p.Version = f.Value
		case "Architecture":
			p.Architecture = f.Value
		case "Source":
			p.Source = f.Value
		case "Priority":
			p.Priority = f.Value
		case "Filename":
			p.Filename = f.Value
		case "SHA256":
			p.SHA256 = f.Value
		case "Depends":
			p.Depends = f.Value
		case "Pre-Depends":
			p.PreDepends = f.Value
		case "Provides":
			p.Provides = f.Value
		case "Conflicts":
			p.Conflicts = f.Value
		case "Breaks":
			p.Breaks = f.Value
		}
	}
	return p
}

func (p *Package) fill(s Stanza) (err error) {
	if p.Size, err = parseSize(s.Get("Size"), maxPackage); err != nil {
		return err
	}
	if p.Source == "" {
		p.Source = p.Name
	}
	switch {
	case !packageShape.MatchString(p.Name):
		return fmt.Errorf("not a package name")
	case p.Architecture == "":
		return fmt.Errorf("no Architecture")
	case !digestShape.MatchString(p.SHA256):
		return fmt.Errorf("SHA256 %.70q is not a digest", p.SHA256)
	case !sourceShape.MatchString(p.Source):
		return fmt.Errorf("source %.60q is not a source package", p.Source)
	}
	if err := checkVersion(p.Version); err != nil {
		return err
	}
	return CheckFilename(p.Filename)
}

// CheckFilename refuses paths that could leave the archive or mean something else in a URL.
func CheckFilename(name string) error {
	if len(name) > 1024 || !pathShape.MatchString(name) || path.Clean(name) != name || strings.HasPrefix(name, "../") || name == ".." {
		return fmt.Errorf("file name %.80q is not a clean relative path", name)
	}
	if !strings.HasSuffix(name, ".deb") {
		return fmt.Errorf("file name %.80q does not end in .deb", name)
	}
	return nil
}

// parseSize reads a decimal number from 1 to limit; signs, blanks and leading zeros are errors.
func parseSize(text string, limit int64) (int64, error) {
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil || strconv.FormatUint(n, 10) != text || n == 0 || int64(n) > limit {
		return 0, fmt.Errorf("size %.30q is not a number from 1 to %d", text, limit)
	}
	return int64(n), nil
}
