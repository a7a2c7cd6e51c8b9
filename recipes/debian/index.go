package debian

import (
	"fmt"
	"slices"
	"strings"
)

// An Index is the packages of one or more suites, ready for lookups. Candidates of one name are ordered from the newest
// version to the oldest; of one version in two suites the suite that was added first counts.
type Index struct {
	architecture string
	byName       map[string][]*Package
	providers    map[string][]provider
}

// A provider is a package that provides a virtual name, with a version or without.
type provider struct {
	pkg     *Package
	version string
}

// NewIndex returns an empty index for one architecture.
func NewIndex(architecture string) *Index {
	return &Index{architecture: architecture, byName: map[string][]*Package{}, providers: map[string][]provider{}}
}

// Add puts a suite's packages into the index. Two different files of one name and version in a suite are an error.
func (ix *Index) Add(suite string, packages []*Package) error {
	for _, p := range packages {
		p.Suite = suite
		same := slices.IndexFunc(ix.byName[p.Name], func(q *Package) bool { return q.Version == p.Version })
		if same >= 0 {
			if q := ix.byName[p.Name][same]; q.Suite == suite && q.SHA256 != p.SHA256 {
				return fmt.Errorf("two different files of %s %s", p.Name, p.Version)
			}
			continue
		}
		ix.byName[p.Name] = append(ix.byName[p.Name], p)
		if err := ix.addProvides(p); err != nil {
			return fmt.Errorf("package %s: Provides: %w", p.Name, err)
		}
	}
	for _, p := range packages {
		if list := ix.byName[p.Name]; len(list) > 1 {
			slices.SortStableFunc(list, func(a, b *Package) int { return Compare(b.Version, a.Version) })
		}
	}
	return nil
}

func (ix *Index) addProvides(p *Package) error {
	if p.Provides == "" {
		return nil
	}
	relations, err := ParseRelation(p.Provides)
	if err != nil {
		return err
	}
	for _, d := range relations {
		name := d[0].Name
		ix.providers[name] = append(ix.providers[name], provider{p, d[0].Version})
	}
	return nil
}

// Candidates returns the packages of a name, newest first.
func (ix *Index) Candidates(name string) []*Package { return ix.byName[name] }

// Has tells whether the index has exactly this package.
func (ix *Index) Has(name, version, sha256 string) bool {
	return slices.ContainsFunc(ix.byName[name], func(p *Package) bool { return p.Version == version && p.SHA256 == sha256 })
}

// Kernel follows a kernel metapackage (linux-image-amd64) to the package that holds the kernel. The package keep is
// preferred when it is such a kernel of the same flavour and the index still has it; a nil keep means the newest.
func (ix *Index) Kernel(name string, keep func(*Package) bool) (*Package, error) {
	if p := ix.keptKernel(name, keep); p != nil {
		return p, nil
	}
	seen := map[string]bool{}
	for !seen[name] {
		seen[name] = true
		list := ix.byName[name]
		if len(list) == 0 {
			return nil, fmt.Errorf("no suite has the kernel package %s", name)
		}
		if isKernel(name) {
			return list[0], nil
		}
		next, err := kernelDependency(list[0])
		if err != nil {
			return nil, err
		}
		name = next
	}
	return nil, fmt.Errorf("kernel package %s depends on itself", name)
}

// KernelParts returns the packages of the same release that a kernel package is divided into: since Debian 14 the image is
// in linux-binary-RELEASE and the modules are in linux-modules-RELEASE. Earlier kernels have none.
func (ix *Index) KernelParts(kernel *Package) ([]*Package, error) {
	relations, err := ParseRelation(kernel.Depends)
	if err != nil {
		return nil, fmt.Errorf("package %s: Depends: %w", kernel.Name, err)
	}
	var parts []*Package
	for _, d := range relations {
		if !strings.HasSuffix(d[0].Name, "-"+strings.TrimPrefix(kernel.Name, kernelPrefix)) {
			continue
		}
		at := slices.IndexFunc(ix.byName[d[0].Name], func(p *Package) bool { return d[0].accepts(p.Version) })
		if at < 0 {
			return nil, fmt.Errorf("package %s depends on %s, which no suite has", kernel.Name, d)
		}
		parts = append(parts, ix.byName[d[0].Name][at])
	}
	return parts, nil
}

// keptKernel looks for the kernel of the old lock among the packages that the metapackage could stand for.
func (ix *Index) keptKernel(meta string, keep func(*Package) bool) *Package {
	if keep == nil {
		return nil
	}
	flavour := strings.TrimPrefix(meta, kernelPrefix)
	var found *Package
	for name, list := range ix.byName { // order does not matter: at most one package is kept
		if !isKernel(name) || name != meta && kernelFlavour(name) != flavour {
			continue
		}
		for _, p := range list {
			if keep(p) {
				found = p
			}
		}
	}
	return found
}

const kernelPrefix = "linux-image-"

// isKernel: a package with a kernel in it has its release in its name, linux-image-6.12.107+deb13-amd64.
func isKernel(name string) bool {
	rest, ok := strings.CutPrefix(name, kernelPrefix)
	return ok && rest != "" && isDigit(rest[0])
}

// kernelFlavour cuts the release off: "6.12.107+deb13-cloud-amd64" and "6.1.0-37-cloud-amd64" give "cloud-amd64".
func kernelFlavour(name string) string {
	parts := strings.Split(strings.TrimPrefix(name, kernelPrefix), "-")
	for len(parts) > 0 && parts[0] != "" && isDigit(parts[0][0]) {
		parts = parts[1:]
	}
	return strings.Join(parts, "-")
}

func kernelDependency(p *Package) (string, error) {
	relations, err := ParseRelation(p.Depends)
	if err != nil {
		return "", fmt.Errorf("package %s: Depends: %w", p.Name, err)
	}
	for _, d := range relations {
		if strings.HasPrefix(d[0].Name, kernelPrefix) {
			return d[0].Name, nil
		}
	}
	return "", fmt.Errorf("package %s is neither a kernel nor depends on one", p.Name)
}
