package inspect

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"path"
	"slices"
	"strings"
)

// maxSBOM bounds the bill of materials, in bytes; the host's has half a megabyte.
const maxSBOM = 64 << 20

// Package is a Debian package or a Go module of the image.
type Package struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Type    string `json:"type"`            // "deb" or "golang", as package URLs have it
	Suite   string `json:"suite,omitempty"` // of Debian
	Source  string `json:"source,omitempty"`
}

// readSBOM takes the packages out of the bill of materials (SPDX 2.3).
func (r *Report) readSBOM(in io.Reader) error {
	var doc struct {
		Packages []struct {
			Name    string `json:"name"`
			Version string `json:"versionInfo"`
			Source  string `json:"sourceInfo"`
			Refs    []struct {
				Type    string `json:"referenceType"`
				Locator string `json:"referenceLocator"`
			} `json:"externalRefs"`
		} `json:"packages"`
	}
	if err := json.NewDecoder(io.LimitReader(in, maxSBOM)).Decode(&doc); err != nil {
		return fmt.Errorf("read bill of materials: %w", err)
	}
	for _, p := range doc.Packages {
		for _, ref := range p.Refs {
			if ref.Type == "purl" {
				kind, suite := fromURL(ref.Locator)
				source := strings.TrimPrefix(p.Source, "built from Debian source package ")
				r.Packages = append(r.Packages, Package{p.Name, p.Version, kind, suite, source})
			}
		}
	}
	slices.SortFunc(r.Packages, func(a, b Package) int { return compare(a.Type, b.Type, a.Name, b.Name) })
	return nil
}

// fromURL reads the kind and the suite of a package URL, "pkg:deb/debian/x@1?arch=amd64&distro=trixie".
func fromURL(purl string) (kind, suite string) {
	rest, query, _ := strings.Cut(strings.TrimPrefix(purl, "pkg:"), "?")
	kind, _, _ = strings.Cut(rest, "/")
	values, err := url.ParseQuery(query)
	if err != nil {
		return kind, ""
	}
	return kind, values.Get("distro")
}

// moduleAt reads a path such as lib/modules/6.1.0/kernel/lib/x.ko.
func moduleAt(p string) (Module, bool) {
	below, ok := strings.CutPrefix(strings.TrimPrefix(p, "usr/"), "lib/modules/")
	_, rel, inside := strings.Cut(below, "/")
	name, _, isModule := strings.Cut(path.Base(p), ".ko")
	if !ok || !inside || !isModule {
		return Module{}, false
	}
	return Module{Name: strings.ReplaceAll(name, "-", "_"), Path: rel}, true
}

// compare orders by the first pair that differs.
func compare(pairs ...string) int {
	for i := 0; i+1 < len(pairs); i += 2 {
		if c := cmp.Compare(pairs[i], pairs[i+1]); c != 0 {
			return c
		}
	}
	return 0
}
