package debian

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// Bounds of what a Release file may say.
const (
	maxIndex     = 1 << 30          // bytes of one index
	maxFiles     = 200_000          // entries
	clockSkew    = 10 * time.Minute // how far ahead of us an archive's clock may be
	maxNameBytes = 256
)

// A Release is what an archive signs: the suite's name and dates, and the digest of every index.
type Release struct {
	Suite, Codename string
	Components      []string
	Architectures   []string
	Date            time.Time
	ValidUntil      time.Time // zero when the archive sets none, as Debian's main suites do
	ByHash          bool      // indices can be had by digest, so a mirror's update cannot come in between
	Files           map[string]IndexFile
}

// An IndexFile is one entry of a Release's SHA256 list.
type IndexFile struct {
	Size   int64 // bytes
	SHA256 string
}

// ParseRelease reads the text of a Release file, that is, what Verify returned.
func ParseRelease(text []byte) (*Release, error) {
	var stanzas []Stanza
	err := Stanzas(text, func(s Stanza) error {
		stanzas = append(stanzas, slices.Clone(s))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("parse Release: %w", err)
	}
	if len(stanzas) != 1 {
		return nil, fmt.Errorf("parse Release: %d stanzas, expected one", len(stanzas))
	}
	r, err := releaseOf(stanzas[0])
	if err != nil {
		return nil, fmt.Errorf("parse Release: %w", err)
	}
	return r, nil
}

func releaseOf(s Stanza) (*Release, error) {
	r := &Release{
		Suite: s.Get("Suite"), Codename: s.Get("Codename"),
		Components: strings.Fields(s.Get("Components")), Architectures: strings.Fields(s.Get("Architectures")),
		ByHash: s.Get("Acquire-By-Hash") == "yes",
	}
	if r.Suite == "" && r.Codename == "" || len(r.Components) == 0 || len(r.Architectures) == 0 {
		return nil, errors.New("fields Suite and Codename, Components or Architectures are missing")
	}
	var err error
	if r.Date, err = parseDate(s.Get("Date")); err != nil {
		return nil, fmt.Errorf("field Date: %w", err)
	}
	if until := s.Get("Valid-Until"); until != "" {
		if r.ValidUntil, err = parseDate(until); err != nil {
			return nil, fmt.Errorf("field Valid-Until: %w", err)
		}
	}
	r.Files, err = parseFiles(s.Get("SHA256"))
	return r, err
}

// parseDate reads the format of Date, which is always UTC: "Sat, 12 Sep 2026 07:55:41 UTC".
func parseDate(text string) (time.Time, error) {
	for _, zone := range []string{" UTC", " GMT", " +0000", " Z"} {
		if t, ok := strings.CutSuffix(text, zone); ok {
			return time.ParseInLocation("Mon, _2 Jan 2006 15:04:05", t, time.UTC)
		}
	}
	return time.Time{}, fmt.Errorf("%.60q is not a date in UTC", text)
}

// parseFiles reads lines of digest, size, path.
func parseFiles(text string) (map[string]IndexFile, error) {
	files := make(map[string]IndexFile)
	for _, line := range strings.Split(text, "\n") {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		if len(f) != 3 || !digestShape.MatchString(f[0]) || len(f[2]) > maxNameBytes {
			return nil, fmt.Errorf("field SHA256: %.100q is not a digest, a size and a name", line)
		}
		if _, twice := files[f[2]]; twice || len(files) == maxFiles {
			return nil, fmt.Errorf("field SHA256: %.100q comes twice, or there are too many", f[2])
		}
		if f[1] == "0" {
			continue // an empty index; never needed
		}
		size, err := parseSize(f[1], 1<<40)
		if err != nil {
			return nil, fmt.Errorf("field SHA256: %s: %w", f[2], err)
		}
		files[f[2]] = IndexFile{Size: size, SHA256: f[0]}
	}
	if len(files) == 0 {
		return nil, errors.New("field SHA256 is missing or empty")
	}
	return files, nil
}

// Expect is what a Release must be, so that a validly signed one of another suite, or an older one, is refused.
type Expect struct {
	Suite        string // codename or suite as the recipe names it
	Components   []string
	Architecture string
	Now          time.Time
	NotBefore    time.Time // the Date of the Release that the old lock was made from; zero if none
}

// Check compares a Release with what was asked for.
func (r *Release) Check(e Expect) error {
	switch {
	case r.Suite != e.Suite && r.Codename != e.Suite:
		return fmt.Errorf("the mirror sent suite %q, codename %q", r.Suite, r.Codename)
	case r.Date.After(e.Now.Add(clockSkew)):
		return fmt.Errorf("the index is dated %s, in the future; check this machine's clock", stamp(r.Date))
	case r.Date.Before(e.NotBefore):
		return fmt.Errorf("the mirror's index is of %s, the lock has already seen %s: a rollback, or a mirror that lags; use another mirror", stamp(r.Date), stamp(e.NotBefore))
	case !r.ValidUntil.IsZero() && r.ValidUntil.Before(e.Now):
		return fmt.Errorf("the mirror's index expired at %s; use a mirror that is up to date", stamp(r.ValidUntil))
	case !slices.Contains(r.Architectures, e.Architecture):
		return fmt.Errorf("no architecture %s", e.Architecture)
	}
	for _, c := range e.Components {
		if !r.hasComponent(c) {
			return fmt.Errorf("no component %s (there are: %s)", c, strings.Join(r.Components, " "))
		}
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// hasComponent knows that security suites write "updates/main" for what is called main everywhere else.
func (r *Release) hasComponent(name string) bool {
	return slices.ContainsFunc(r.Components, func(c string) bool { return path.Base(c) == name })
}

// Packages returns the name and entry of a component's compressed index, and the entry of its content.
func (r *Release) Packages(component, architecture string) (name string, packed, plain IndexFile, err error) {
	base := fmt.Sprintf("%s/binary-%s/Packages", component, architecture)
	packed, ok := r.Files[base+".xz"]
	if !ok {
		return "", packed, plain, fmt.Errorf("the Release lists no %s.xz", base)
	}
	plain, ok = r.Files[base]
	if !ok {
		return "", packed, plain, fmt.Errorf("the Release lists no %s", base)
	}
	if packed.Size > maxIndex || plain.Size > maxIndex {
		return "", packed, plain, fmt.Errorf("%s: %d bytes (%d unpacked) are too many", base, packed.Size, plain.Size)
	}
	return base + ".xz", packed, plain, nil
}

// ByHashName returns where a mirror keeps an index under its digest, relative to the suite's folder.
func ByHashName(name string, f IndexFile) string {
	return path.Join(path.Dir(name), "by-hash", "SHA256", f.SHA256)
}
