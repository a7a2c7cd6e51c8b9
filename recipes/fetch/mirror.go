package fetch

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"picolab/recipes/debian"
)

// Mirror returns the URL of the Debian archive to use: the flag, else $PICOLAB_MIRROR, else the recipe's, else the first
// Debian archive among this machine's apt sources. No mirror is built in.
func Mirror(flag, recipe string) (string, error) {
	for _, m := range []struct{ value, from string }{
		{flag, "the mirror flag"}, {os.Getenv("PICOLAB_MIRROR"), "PICOLAB_MIRROR"}, {recipe, "the recipe's mirror"},
	} {
		if m.value == "" {
			continue
		}
		if !isHTTP(m.value) {
			return "", fmt.Errorf("%s: %q is not an http or https URL", m.from, m.value)
		}
		return strings.TrimRight(m.value, "/"), nil
	}
	if m := machineMirror("/etc/apt"); m != "" {
		return m, nil
	}
	return "", errors.New("no Debian mirror is known: this machine's apt sources name none; use --mirror URL, PICOLAB_MIRROR or the recipe's mirror")
}

// Base returns the URL of a suite's archive: the mirror, or its sibling when the suite has a path of its own. With path
// "debian-security", both http://host/debian and http://host/archive/debian/20260101T000000Z/ (a snapshot) have the last
// element named debian replaced; a mirror without such an element its last one.
func Base(mirror, suitePath string) (string, error) {
	if !isHTTP(mirror) {
		return "", fmt.Errorf("mirror %q is not an http or https URL", mirror)
	}
	mirror = strings.TrimRight(mirror, "/")
	if suitePath == "" {
		return mirror, nil
	}
	u, err := url.Parse(mirror)
	if err != nil {
		return "", fmt.Errorf("mirror %q: %w", mirror, err)
	}
	elems := strings.Split(strings.Trim(u.Path, "/"), "/")
	at := len(elems) - 1
	for i, e := range elems {
		if e == "debian" {
			at = i
		}
	}
	elems[at] = suitePath
	u.Path = "/" + strings.Join(elems, "/")
	return u.String(), nil
}

func isHTTP(address string) bool {
	u, err := url.Parse(address)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// An aptSource is one entry of apt's configuration, sources.list(5).
type aptSource struct {
	uris, suites, components []string
	signedBy                 string
}

// machineMirror looks through apt's sources in the order in which apt reads them.
func machineMirror(dir string) string {
	paths := []string{filepath.Join(dir, "sources.list")}
	for _, ending := range []string{"*.list", "*.sources"} {
		found, _ := filepath.Glob(filepath.Join(dir, "sources.list.d", ending)) // only a bad pattern fails
		paths = append(paths, found...)
	}
	slices.Sort(paths[1:])
	for _, p := range paths {
		data, err := os.ReadFile(p)
		if err != nil {
			continue // absent, or not ours to read
		}
		for _, s := range parseSources(p, data) {
			if m := s.archive(); m != "" {
				return m
			}
		}
	}
	return ""
}

func parseSources(name string, data []byte) []aptSource {
	if path.Ext(name) == ".sources" {
		return parseDeb822(data)
	}
	return parseOneLine(string(data))
}

// parseDeb822 reads the .sources format; a file that apt would refuse yields what precedes the fault.
func parseDeb822(data []byte) (out []aptSource) {
	_ = debian.Stanzas(data, func(s debian.Stanza) error {
		disabled := slices.Contains([]string{"no", "false", "without", "off", "disable", "0"}, strings.ToLower(s.Get("Enabled")))
		if disabled || !slices.Contains(strings.Fields(s.Get("Types")), "deb") {
			return nil
		}
		out = append(out, aptSource{
			uris: strings.Fields(s.Get("URIs")), suites: strings.Fields(s.Get("Suites")),
			components: strings.Fields(s.Get("Components")), signedBy: s.Get("Signed-By"),
		})
		return nil
	})
	return out
}

var oneLine = regexp.MustCompile(`^deb\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)\s+(.+)$`)

// parseOneLine reads lines such as: deb [signed-by=/k.gpg] http://host/debian trixie main.
func parseOneLine(text string) (out []aptSource) {
	for _, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		m := oneLine.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		s := aptSource{uris: []string{m[2]}, suites: []string{m[3]}, components: strings.Fields(m[4])}
		for _, option := range strings.Fields(m[1]) {
			if value, ok := strings.CutPrefix(option, "signed-by="); ok {
				s.signedBy = value
			}
		}
		out = append(out, s)
	}
	return out
}

// debianSuite is a Debian suite or codename that is not a security suite: those are in an archive of their own.
var debianSuite = regexp.MustCompile(`^[a-z]+(-updates|-backports|-proposed-updates)?$`)

// archive returns the URL if the entry is Debian's own archive: third parties have their own keys, their own suites, or
// no component main.
func (s aptSource) archive() string {
	ours := strings.Contains(s.signedBy, "debian-archive-")
	if s.signedBy != "" && !ours || !slices.Contains(s.components, "main") || !slices.ContainsFunc(s.suites, debianSuite.MatchString) {
		return ""
	}
	for _, address := range s.uris {
		address = strings.TrimRight(address, "/")
		elems := strings.Split(address, "/")
		if isHTTP(address) && (ours || elems[len(elems)-1] == "debian") && !strings.Contains(address, "debian-security") {
			return address
		}
	}
	return ""
}
