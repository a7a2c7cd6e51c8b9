package lint

import (
	"fmt"
	"slices"
	"strings"
)

// Debian's releases as of 2026 (wiki.debian.org/DebianReleases): those that get security updates of any kind, and those
// that no longer do.
var (
	supported = []string{"bookworm", "trixie", "forky", "sid"}
	past      = []string{"buzz", "rex", "bo", "hamm", "slink", "potato", "woody", "sarge", "etch", "lenny", "squeeze", "wheezy", "jessie", "stretch", "buster", "bullseye"}
	moving    = []string{"oldoldstable", "oldstable", "stable", "testing", "unstable", "experimental"}
	pockets   = []string{"-updates", "-security", "-backports", "-backports-sloppy", "-proposed-updates"}
)

// suites looks at the names of the recipe's suites.
func (l *linter) suites() {
	for i, s := range l.Recipe.Suites {
		node := fmt.Sprintf("suites[%d]", i)
		release := s.Name
		for _, p := range pockets {
			release = strings.TrimSuffix(release, p)
		}
		switch {
		case slices.Contains(supported, release):
		case slices.Contains(past, release):
			l.add(Warning, "suite", node, "suite %s: Debian no longer supports %s, and mirrors drop it; use %s", s.Name, release, supported[1])
		case slices.Contains(moving, release):
			l.add(Warning, "suite", node, "suite %s is another release after the next one comes out; name it: %s", s.Name, strings.Join(supported, ", "))
		default:
			l.add(Warning, "suite", node, "suite %s is not one of Debian's that this program knows (%s)", s.Name, strings.Join(supported, ", "))
		}
		if strings.Contains(s.Name, "-backports") && len(s.Only) == 0 {
			l.add(Warning, "suite", node, "suite %s: every package with a backport is taken from it; name those that you want with only: [...]", s.Name)
		}
	}
}
