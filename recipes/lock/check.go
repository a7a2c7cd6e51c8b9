package lock

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"picolab/recipes/debian"
	"picolab/recipes/fetch"
)

// The shapes of a lock's values; file names are checked by debian.CheckFilename.
var (
	digestShape  = regexp.MustCompile(`^[0-9a-f]{64}$`)
	nameShape    = regexp.MustCompile(`^[a-z0-9][a-z0-9._+-]*$`)
	versionShape = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z.+~:-]*$`)
	sourceShape  = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+( \([0-9A-Za-z.+~:-]+\))?$`)
)

// check refuses values that Resolve cannot have written: what is in a lock ends up in paths, URLs and file names.
func (l *Lock) check() error {
	switch {
	case l.Version != formatVersion:
		return fmt.Errorf("format version %d, this program knows %d", l.Version, formatVersion)
	case !nameShape.MatchString(l.Recipe):
		return fmt.Errorf("recipe %.60q is not a name", l.Recipe)
	case !digestShape.MatchString(l.RecipeSHA256):
		return fmt.Errorf("recipe_sha256 %.70q is not a digest", l.RecipeSHA256)
	case l.Architecture != "amd64":
		return fmt.Errorf("architecture %.20q is not supported", l.Architecture)
	case l.Epoch <= 0 || l.Epoch > 1<<35:
		return fmt.Errorf("epoch %d is not a time", l.Epoch)
	case len(l.Suites) == 0 || len(l.Keyrings) == 0:
		return fmt.Errorf("it has no suites or no keyrings")
	}
	for _, k := range l.Keyrings {
		if !digestShape.MatchString(k) {
			return fmt.Errorf("keyring %.70q is not a digest", k)
		}
	}
	suites, err := l.checkSuites()
	if err != nil {
		return err
	}
	return errors.Join(l.checkPackages(suites), l.checkLocal())
}

func (l *Lock) checkLocal() error {
	for _, f := range l.Local {
		if f.Path == "" || len(f.Path) > 4095 || f.Size < 0 || !digestShape.MatchString(f.SHA256) {
			return fmt.Errorf("local %.60q: bad path, size or digest", f.Path)
		}
	}
	return nil
}

func (l *Lock) checkSuites() (names map[string]bool, err error) {
	names = make(map[string]bool, len(l.Suites))
	for _, s := range l.Suites {
		if err := s.check(); err != nil {
			return nil, fmt.Errorf("suite %.60q: %w", s.Name, err)
		}
		if names[s.Name] {
			return nil, fmt.Errorf("suite %s comes twice", s.Name)
		}
		names[s.Name] = true
	}
	return names, nil
}

func (s Suite) check() error {
	if !nameShape.MatchString(s.Name) || s.Path != "" && !nameShape.MatchString(s.Path) {
		return fmt.Errorf("bad name or path %.60q", s.Path)
	}
	if !digestShape.MatchString(s.InReleaseSHA256) {
		return fmt.Errorf("inrelease_sha256 %.70q is not a digest", s.InReleaseSHA256)
	}
	if s.Mirror != "" {
		if _, err := fetch.Base(s.Mirror, ""); err != nil {
			return err
		}
	}
	if _, err := time.Parse(time.RFC3339, s.Date); err != nil {
		return fmt.Errorf("date: %w", err)
	}
	if s.ValidUntil != "" {
		if _, err := time.Parse(time.RFC3339, s.ValidUntil); err != nil {
			return fmt.Errorf("valid_until: %w", err)
		}
	}
	return nil
}

func (l *Lock) checkPackages(suites map[string]bool) error {
	for _, p := range l.Packages {
		if err := p.check(l.Architecture); err != nil {
			return fmt.Errorf("package %.60q: %w", p.Name, err)
		}
		if !suites[p.Suite] {
			return fmt.Errorf("package %s: suite %.60q is not in the lock", p.Name, p.Suite)
		}
	}
	for i := 1; i < len(l.Packages); i++ {
		if packageOrder(l.Packages[i-1], l.Packages[i]) >= 0 {
			return fmt.Errorf("package %s comes twice or is out of order", l.Packages[i].Name)
		}
	}
	return nil
}

func (p Package) check(architecture string) error {
	switch {
	case !nameShape.MatchString(p.Name):
		return fmt.Errorf("not a package name")
	case !versionShape.MatchString(p.Version):
		return fmt.Errorf("version %.60q is not one", p.Version)
	case p.Architecture != architecture && p.Architecture != "all":
		return fmt.Errorf("architecture %.20q", p.Architecture)
	case p.Size <= 0 || p.Size > 8<<30:
		return fmt.Errorf("size %d", p.Size)
	case !digestShape.MatchString(p.SHA256):
		return fmt.Errorf("sha256 %.70q is not a digest", p.SHA256)
	case !sourceShape.MatchString(p.Source):
		return fmt.Errorf("source %.60q is not a source package", p.Source)
	case p.Role != "" && p.Role != RoleKernel && p.Role != RoleFirmware:
		return fmt.Errorf("role %.20q is unknown", p.Role)
	}
	return debian.CheckFilename(p.Filename)
}

// packageOrder puts packages without a role first, then orders by name.
func packageOrder(a, b Package) int {
	return cmp.Or(strings.Compare(a.Role, b.Role), strings.Compare(a.Name, b.Name))
}

func sortPackages(list []Package) { slices.SortFunc(list, packageOrder) }
