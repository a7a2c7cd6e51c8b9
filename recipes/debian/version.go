package debian

import (
	"fmt"
	"regexp"
	"strings"
)

// versionShape is deb-version(7): [epoch:]upstream[-revision]; a colon in upstream needs an epoch before it.
var versionShape = regexp.MustCompile(`^([0-9]{1,9}:[0-9A-Za-z][0-9A-Za-z.+~:-]*|[0-9A-Za-z][0-9A-Za-z.+~-]*)$`)

func checkVersion(v string) error {
	if len(v) > 256 || !versionShape.MatchString(v) {
		return fmt.Errorf("%.60q is not a version", v)
	}
	return nil
}

// Compare orders two versions as dpkg does: negative when a is older than b. See deb-version(7), "Sorting algorithm".
func Compare(a, b string) int {
	epochA, upstreamA, revisionA := splitVersion(a)
	epochB, upstreamB, revisionB := splitVersion(b)
	if c := compareDigits(epochA, epochB); c != 0 {
		return c
	}
	if c := comparePart(upstreamA, upstreamB); c != 0 {
		return c
	}
	return comparePart(revisionA, revisionB)
}

func splitVersion(v string) (epoch, upstream, revision string) {
	if i := strings.IndexByte(v, ':'); i >= 0 {
		epoch, v = v[:i], v[i+1:]
	}
	if i := strings.LastIndexByte(v, '-'); i >= 0 {
		return epoch, v[:i], v[i+1:]
	}
	return epoch, v, ""
}

// comparePart alternates between runs without digits, in which ~ sorts before the end and letters before the rest, and
// runs of digits, compared as numbers of any length.
func comparePart(a, b string) int {
	for a != "" || b != "" {
		for a != "" && !isDigit(a[0]) || b != "" && !isDigit(b[0]) {
			if x, y := weight(a), weight(b); x != y {
				return x - y
			}
			a, b = a[1:], b[1:] // equal weights, so neither is at its end
		}
		runA, runB := digits(a), digits(b)
		if c := compareDigits(runA, runB); c != 0 {
			return c
		}
		a, b = a[len(runA):], b[len(runB):]
	}
	return 0
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// weight of the first character; the end of the text and a digit weigh the same.
func weight(s string) int {
	switch {
	case s == "" || isDigit(s[0]):
		return 0
	case s[0] == '~':
		return -1
	case 'a' <= s[0] && s[0] <= 'z' || 'A' <= s[0] && s[0] <= 'Z':
		return int(s[0])
	}
	return int(s[0]) + 256
}

func digits(s string) string {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	return s[:n]
}

func compareDigits(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}
