package catalogue

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Set is a catalogue: cases in the order they are listed and run.
type Set struct {
	cases []*Case
}

// NewSet joins suites into a set.  A case that is written wrongly, or an id that
// is there twice, is an error.
func NewSet(suites ...[]*Case) (*Set, error) {
	s := &Set{cases: slices.Concat(suites...)}
	seen := map[string]bool{}
	for _, c := range s.cases {
		if err := c.validate(); err != nil {
			return nil, fmt.Errorf("check case %s: %w", c.ID, err)
		}
		if seen[c.ID] {
			return nil, fmt.Errorf("check case %s: id is there twice", c.ID)
		}
		seen[c.ID] = true
	}
	return s, nil
}

// Cases returns the cases in order.
func (s *Set) Cases() []*Case { return slices.Clone(s.cases) }

// Case returns the case of an id, or nil.
func (s *Set) Case(id string) *Case {
	for _, c := range s.cases {
		if c.ID == id {
			return c
		}
	}
	return nil
}

// JSON returns the catalogue's data: an array of cases, indented.
func (s *Set) JSON() []byte {
	b, err := json.MarshalIndent(s.cases, "", "  ")
	if err != nil { // plain data: cannot happen
		panic(err)
	}
	return append(b, '\n')
}

// Digest identifies the catalogue's data: results of equal digests may be
// compared.
func (s *Set) Digest() string {
	sum := sha256.Sum256(s.JSON())
	return hex.EncodeToString(sum[:])
}

func cutID(id string) (suite, name string, ok bool) { return strings.Cut(id, ".") }

// cutModule returns the module a need names, if it is one of a guest's.
func cutModule(need string) (string, bool) { return strings.CutPrefix(need, guestModule) }
