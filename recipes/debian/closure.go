package debian

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A Request asks for a dependency closure.
type Request struct {
	Roots   []string
	Exclude []string            // count as present, and are never taken
	Keep    func(*Package) bool // preferred over newer versions; may be nil
}

// Closure returns the roots and all that their Depends and Pre-Depends need, sorted by name. The choice is
// deterministic: what is chosen already wins, then the first alternative that exists, then the provider of highest
// priority, then of the first name; of its versions a kept one, then the newest. Recommends are not followed and
// Essential packages are not implied. What cannot be satisfied, and packages that conflict, are errors that say why.
func (ix *Index) Closure(r Request) ([]*Package, error) {
	s := &solver{ix: ix, keep: r.Keep, excluded: map[string]bool{}, demands: map[string][]Possibility{}}
	for _, name := range r.Exclude {
		s.excluded[name] = true
	}
	// A later dependency may demand another version of a package than the one chosen earlier. Then the demand is noted
	// and all starts again, so the result does not depend on who asked first. Every round notes one more demand.
	for range maxRounds {
		again, err := s.round(r.Roots)
		if err != nil {
			return nil, err
		}
		if !again {
			return s.result()
		}
	}
	return nil, fmt.Errorf("dependencies do not settle after %d rounds", maxRounds)
}

const maxRounds = 1000

type solver struct {
	ix       *Index
	keep     func(*Package) bool
	excluded map[string]bool
	demands  map[string][]Possibility // versions that some dependency needs, by package

	chosen map[string]*Package
	why    map[string]string // by whom a package was asked for
	queue  []*Package
}

// round makes one attempt from the roots; it stops early when a new demand shows that an earlier choice was wrong.
func (s *solver) round(roots []string) (again bool, err error) {
	s.chosen, s.why, s.queue = map[string]*Package{}, map[string]string{}, nil
	for _, name := range roots {
		p := s.candidate(Possibility{Name: name})
		if p == nil {
			return false, s.missingRoot(name)
		}
		s.take(p, "the recipe")
	}
	for len(s.queue) > 0 {
		p := s.queue[0]
		s.queue = s.queue[1:]
		for _, field := range []string{p.PreDepends, p.Depends} {
			relations, err := ParseRelation(field)
			if err != nil {
				return false, fmt.Errorf("package %s %s: %w", p.Name, p.Version, err)
			}
			for _, d := range relations {
				if again, err := s.satisfy(p, d); again || err != nil {
					return again, err
				}
			}
		}
	}
	return false, nil
}

func (s *solver) missingRoot(name string) error {
	if len(s.demands[name]) > 0 {
		return fmt.Errorf("no version of %s meets all demands: %v", name, s.demands[name])
	}
	if names := s.providerNames(name); len(names) > 0 {
		return fmt.Errorf("package %s is virtual; name one of: %s", name, strings.Join(names, " "))
	}
	return fmt.Errorf("no suite has a package %s", name)
}

func (s *solver) take(p *Package, why string) {
	if s.chosen[p.Name] == nil {
		s.chosen[p.Name] = p
		s.why[p.Name] = why
		s.queue = append(s.queue, p)
	}
}

// satisfy makes sure that one alternative of a dependency is chosen.
func (s *solver) satisfy(p *Package, d Dependency) (again bool, err error) {
	for _, a := range d {
		if s.present(a) {
			return false, nil
		}
	}
	for _, a := range d {
		if c := s.candidate(a); c != nil {
			return s.choose(c, a, p), nil
		}
		if c := s.provider(a); c != nil {
			return s.choose(c, Possibility{Name: c.Name}, p), nil
		}
	}
	return false, fmt.Errorf("package %s %s depends on %s, which no suite can satisfy (%s)", p.Name, p.Version, d, s.chain(p.Name))
}

// choose takes a candidate, or notes the demand when another version of it was taken before.
func (s *solver) choose(c *Package, a Possibility, by *Package) (again bool) {
	if s.chosen[c.Name] != nil {
		s.demands[c.Name] = append(s.demands[c.Name], a)
		return true
	}
	s.take(c, by.Name)
	return false
}

// present tells whether what is chosen, or excluded, satisfies an alternative.
func (s *solver) present(a Possibility) bool {
	if !a.fits(s.ix.architecture) {
		return false
	}
	if s.excluded[a.Name] {
		return true
	}
	if p := s.chosen[a.Name]; p != nil && a.accepts(p.Version) {
		return true
	}
	return slices.ContainsFunc(s.ix.providers[a.Name], func(v provider) bool {
		return (s.excluded[v.pkg.Name] || s.chosen[v.pkg.Name] == v.pkg) && v.satisfies(a)
	})
}

// satisfies: a versioned dependency needs a versioned Provides (policy 7.5).
func (v provider) satisfies(a Possibility) bool {
	return a.Op == "" || v.version != "" && a.accepts(v.version)
}

// candidate returns the preferred package of a name that meets the alternative and all demands noted so far.
func (s *solver) candidate(a Possibility) *Package {
	if s.excluded[a.Name] || !a.fits(s.ix.architecture) {
		return nil
	}
	var best *Package
	for _, p := range s.ix.byName[a.Name] {
		if !a.accepts(p.Version) || !s.meetsDemands(p) {
			continue
		}
		if s.keep != nil && s.keep(p) {
			return p
		}
		if best == nil {
			best = p
		}
	}
	return best
}

func (s *solver) meetsDemands(p *Package) bool {
	return !slices.ContainsFunc(s.demands[p.Name], func(d Possibility) bool { return !d.accepts(p.Version) })
}

// provider returns the preferred provider of a virtual package.
func (s *solver) provider(a Possibility) *Package {
	if !a.fits(s.ix.architecture) {
		return nil
	}
	var best *Package
	for _, v := range s.ix.providers[a.Name] {
		p := v.pkg
		if !v.satisfies(a) || s.excluded[p.Name] || s.candidate(Possibility{Name: p.Name}) != p {
			continue
		}
		if best == nil || providerOrder(p, best) < 0 {
			best = p
		}
	}
	return best
}

func providerOrder(a, b *Package) int {
	if x, y := slices.Index(priorities, a.Priority), slices.Index(priorities, b.Priority); x != y {
		return y - x
	}
	return strings.Compare(a.Name, b.Name)
}

// priorities from lowest to highest (policy 2.5); an unknown one has index -1, the lowest.
var priorities = []string{"extra", "optional", "standard", "important", "required"}

func (s *solver) providerNames(virtual string) []string {
	names := map[string]bool{}
	for _, v := range s.ix.providers[virtual] {
		names[v.pkg.Name] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// chain tells how a package came in: "qemu-utils <- the recipe".
func (s *solver) chain(name string) string {
	out := name
	for range maxRounds {
		by, ok := s.why[name]
		if !ok {
			break
		}
		out += " <- " + by
		name = by
	}
	return out
}

// result sorts the packages, and refuses a set that dpkg would not install together.
func (s *solver) result() ([]*Package, error) {
	var out []*Package
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(s.chosen)) {
		p := s.chosen[name]
		out = append(out, p)
		for _, field := range []struct{ verb, text string }{{"conflicts with", p.Conflicts}, {"breaks", p.Breaks}} {
			relations, err := ParseRelation(field.text)
			if err != nil {
				errs = append(errs, fmt.Errorf("package %s %s: %w", p.Name, p.Version, err))
			}
			errs = append(errs, s.conflicts(p, field.verb, relations)...)
		}
	}
	return out, errors.Join(errs...)
}

func (s *solver) conflicts(p *Package, verb string, relations []Dependency) (errs []error) {
	for _, d := range relations {
		a := d[0]
		if q := s.chosen[a.Name]; q != nil && q != p && a.accepts(q.Version) {
			errs = append(errs, fmt.Errorf("%s %s %s %s %s (%s; %s)", p.Name, p.Version, verb, q.Name, q.Version, s.chain(p.Name), s.chain(q.Name)))
		}
		for _, v := range s.ix.providers[a.Name] {
			if v.pkg != p && v.pkg.Name != a.Name && s.chosen[v.pkg.Name] == v.pkg && v.satisfies(a) {
				errs = append(errs, fmt.Errorf("%s %s %s %s, which %s provides", p.Name, p.Version, verb, a.Name, v.pkg.Name))
			}
		}
	}
	return errs
}
