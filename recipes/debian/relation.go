package debian

import (
	"fmt"
	"strings"
)

// A Possibility is one alternative of a dependency, e.g. "libc6:any (>= 2.41)".
type Possibility struct {
	Name    string
	Arch    string // qualifier: "", "any", "native" or an architecture
	Op      string // "", "<<", "<=", "=", ">=", ">>"
	Version string
}

func (p Possibility) String() string {
	s := p.Name
	if p.Arch != "" {
		s += ":" + p.Arch
	}
	if p.Op != "" {
		s += fmt.Sprintf(" (%s %s)", p.Op, p.Version)
	}
	return s
}

// A Dependency is a list of alternatives, any of which satisfies it.
type Dependency []Possibility

func (d Dependency) String() string {
	var parts []string
	for _, p := range d {
		parts = append(parts, p.String())
	}
	return strings.Join(parts, " | ")
}

// ParseRelation reads a field such as Depends (policy 7.1). Architecture lists and build profiles, which only source
// packages have, are errors.
func ParseRelation(text string) ([]Dependency, error) {
	var out []Dependency
	for _, group := range strings.Split(text, ",") {
		if strings.TrimSpace(group) == "" {
			continue // a trailing comma occurs in the wild
		}
		var d Dependency
		for _, alternative := range strings.Split(group, "|") {
			p, err := parsePossibility(strings.TrimSpace(alternative))
			if err != nil {
				return nil, fmt.Errorf("relation %.80q: %w", text, err)
			}
			d = append(d, p)
		}
		out = append(out, d)
	}
	return out, nil
}

func parsePossibility(s string) (p Possibility, err error) {
	name, rest, versioned := strings.Cut(s, "(")
	if versioned {
		inner, tail, closed := strings.Cut(rest, ")")
		if !closed || strings.TrimSpace(tail) != "" {
			return p, fmt.Errorf("%.60q: expected NAME (OP VERSION)", s)
		}
		inner = strings.TrimSpace(inner)
		p.Op = inner[:len(inner)-len(strings.TrimLeft(inner, "<>="))]
		p.Version = strings.TrimSpace(inner[len(p.Op):])
		switch p.Op {
		case "<<", "<=", "=", ">=", ">>":
		case "<", ">": // obsolete spelling, policy 7.1
			p.Op += "="
		default:
			return p, fmt.Errorf("%.60q: unknown operator", s)
		}
		if err := checkVersion(p.Version); err != nil {
			return p, err
		}
	}
	p.Name, p.Arch, _ = strings.Cut(strings.TrimSpace(name), ":")
	if !packageShape.MatchString(p.Name) {
		return p, fmt.Errorf("%.60q is not a package name", p.Name)
	}
	return p, nil
}

// accepts tells whether a version satisfies the possibility's operator.
func (p Possibility) accepts(version string) bool {
	if p.Op == "" {
		return true
	}
	switch c := Compare(version, p.Version); p.Op {
	case "<<":
		return c < 0
	case "<=":
		return c <= 0
	case "=":
		return c == 0
	case ">=":
		return c >= 0
	default:
		return c > 0
	}
}

// fits tells whether the qualifier allows the one architecture that there is.
func (p Possibility) fits(architecture string) bool {
	return p.Arch == "" || p.Arch == "any" || p.Arch == "native" || p.Arch == architecture
}
