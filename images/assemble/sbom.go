package assemble

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"picolab/images/manifest"
	"picolab/initramfs"
	"picolab/initramfs/bb"
	"picolab/recipes/lock"
)

// The subset of SPDX 2.3 (https://spdx.github.io/spdx-spec/v2.3/) that the bill of materials uses. Licences are not
// asserted: the Debian packages' copyright files are in the image, the Go modules' in their source.
type (
	spdxDocument struct {
		Version       string             `json:"spdxVersion"`
		License       string             `json:"dataLicense"`
		ID            string             `json:"SPDXID"`
		Name          string             `json:"name"`
		Namespace     string             `json:"documentNamespace"`
		Creation      spdxCreation       `json:"creationInfo"`
		Packages      []spdxPackage      `json:"packages"`
		Relationships []spdxRelationship `json:"relationships"`
	}
	spdxCreation struct {
		Created  string   `json:"created"`
		Creators []string `json:"creators"`
	}
	spdxPackage struct {
		Name             string         `json:"name"`
		ID               string         `json:"SPDXID"`
		Version          string         `json:"versionInfo"`
		FileName         string         `json:"packageFileName,omitempty"`
		Supplier         string         `json:"supplier,omitempty"`
		Download         string         `json:"downloadLocation"`
		Analyzed         bool           `json:"filesAnalyzed"`
		Homepage         string         `json:"homepage,omitempty"`
		Checksums        []spdxChecksum `json:"checksums,omitempty"`
		SourceInfo       string         `json:"sourceInfo,omitempty"`
		LicenseConcluded string         `json:"licenseConcluded"`
		LicenseDeclared  string         `json:"licenseDeclared"`
		Copyright        string         `json:"copyrightText"`
		Refs             []spdxRef      `json:"externalRefs,omitempty"`
		Purpose          string         `json:"primaryPackagePurpose,omitempty"`
		Comment          string         `json:"comment,omitempty"`
	}
	spdxChecksum struct {
		Algorithm string `json:"algorithm"`
		Value     string `json:"checksumValue"`
	}
	spdxRef struct {
		Category string `json:"referenceCategory"`
		Type     string `json:"referenceType"`
		Locator  string `json:"referenceLocator"`
	}
	spdxRelationship struct {
		Element string `json:"spdxElementId"`
		Type    string `json:"relationshipType"`
		Related string `json:"relatedSpdxElement"`
	}
)

const (
	noAssertion  = "NOASSERTION"
	spdxDocID    = "SPDXRef-DOCUMENT"
	spdxImageID  = "SPDXRef-Image"
	goMainModule = "stdlib" // name of the standard library in package URLs
)

// sbom writes the bill of materials: every Debian package, every Go module, with what identifies their bytes.
func (w *writer) sbom(ctx context.Context) error {
	data, err := json.MarshalIndent(w.document(), "", " ")
	if err != nil {
		return err
	}
	data = append(data, '\n')
	return w.file(ctx, sbomFile, manifest.RoleSBOM, fmt.Sprintf("sbom %x", sha256.Sum256(data)), writes(data))
}

func (w *writer) document() *spdxDocument {
	image := newSPDX(w.Recipe.Name, spdxImageID, w.layers.Busybox.SHA256[:12])
	image.Purpose = "OPERATING-SYSTEM"
	d := &spdxDocument{
		Version:  "SPDX-2.3",
		License:  "CC0-1.0",
		ID:       spdxDocID,
		Name:     "picolab-" + w.Recipe.Name,
		Creation: spdxCreation{time.Unix(w.Lock.Epoch, 0).UTC().Format(time.RFC3339), []string{"Tool: picolab"}},
		Packages: []spdxPackage{image},
	}
	for _, p := range w.layers.Packages {
		d.Packages = append(d.Packages, debianPackage(p))
	}
	for _, f := range w.Lock.Local {
		d.Packages = append(d.Packages, localFile(f))
	}
	d.Packages = append(d.Packages, goModules(w.layers.Busybox)...)
	d.relate()
	d.Namespace = d.namespace()
	return d
}

// relate says that the document describes the image, and the image contains all the rest.
func (d *spdxDocument) relate() {
	d.Relationships = []spdxRelationship{{spdxDocID, "DESCRIBES", spdxImageID}}
	for _, p := range d.Packages[1:] {
		d.Relationships = append(d.Relationships, spdxRelationship{spdxImageID, "CONTAINS", p.ID})
	}
}

// namespace is a URI for this document alone: a UUID made from the contents, as a random one would differ every time.
func (d *spdxDocument) namespace() string {
	data, err := json.Marshal(d)
	if err != nil { // strings only
		panic("encode SBOM: " + err.Error())
	}
	u := sha256.Sum256(append([]byte("picolab sbom\n"), data...))
	u[6], u[8] = u[6]&0x0f|0x80, u[8]&0x3f|0x80 // version 8, RFC 9562
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", u[0:4], u[4:6], u[6:8], u[8:10], u[10:16])
}

func newSPDX(name, id, version string) spdxPackage {
	return spdxPackage{Name: name, ID: id, Version: version, Download: noAssertion,
		LicenseConcluded: noAssertion, LicenseDeclared: noAssertion, Copyright: noAssertion}
}

func debianPackage(p initramfs.Package) spdxPackage {
	purl := fmt.Sprintf("pkg:deb/debian/%s@%s?arch=%s&distro=%s",
		purlEscape(p.Name), purlEscape(p.Version), purlEscape(p.Architecture), purlEscape(p.Suite))
	s := newSPDX(p.Name, spdxID("deb", p.Name, purl), p.Version)
	s.FileName = p.Filename
	s.Supplier = noAssertion
	if m := p.Control.Maintainer; m != "" {
		s.Supplier = "Person: " + strings.NewReplacer("<", "(", ">", ")").Replace(m)
	}
	s.Homepage = homepage(p.Control.Homepage)
	s.Checksums = []spdxChecksum{{"SHA256", p.SHA256}}
	s.SourceInfo = "built from Debian source package " + p.Control.Source + " " + p.Control.SourceVersion
	s.Refs = []spdxRef{{"PACKAGE-MANAGER", "purl", purl}}
	return s
}

// localFile is a file or folder of the machine where the image was locked; nobody knows more of it than its digest.
func localFile(f lock.Local) spdxPackage {
	s := newSPDX(f.Path, spdxID("file", f.Path, f.Path), "sha256:"+f.SHA256[:12])
	s.Checksums = []spdxChecksum{{"SHA256", f.SHA256}}
	return s
}

// goModules lists what is compiled into the busybox, the standard library included.
func goModules(box *bb.Busybox) []spdxPackage {
	deps := append([]bb.Dependency{{Path: goMainModule, Version: strings.TrimPrefix(box.GoVersion, "go")}}, box.Modules...)
	var out []spdxPackage
	for _, d := range deps {
		purl := "pkg:golang/" + strings.ToLower(d.Path) + "@" + purlEscape(d.Version)
		s := newSPDX(d.Path, spdxID("go", d.Path, purl), d.Version)
		s.Refs = []spdxRef{{"PACKAGE-MANAGER", "purl", purl}}
		if d.Sum != "" {
			s.Comment = "go.sum " + d.Sum
		}
		out = append(out, s)
	}
	return out
}

// spdxID is unique for its purl: identifiers have only letters, digits, dots and dashes, names have more.
func spdxID(kind, name, purl string) string {
	plain := strings.Map(func(r rune) rune {
		if r == '.' || r == '-' || (r >= '0' && r <= '9') || (r >= 'a' && r <= 'z') || (r >= 'A' && r <= 'Z') {
			return r
		}
		return '-'
	}, name)
	return fmt.Sprintf("SPDXRef-%s-%s-%x", kind, plain, sha256.Sum256([]byte(purl)))[:len("SPDXRef--")+len(kind)+len(plain)+9]
}

// purlEscape percent-encodes a part of a package URL.
func purlEscape(s string) string {
	return strings.ReplaceAll(url.QueryEscape(s), "%7E", "~")
}

// homepage returns u if SPDX takes it for a URI, else nothing.
func homepage(u string) string {
	parsed, err := url.Parse(u)
	if err != nil || !slices.Contains([]string{"http", "https"}, parsed.Scheme) {
		return ""
	}
	return u
}
