// Package debian reads Debian archives without a network of its own: signed InRelease files, Packages indices, version
// numbers and dependency closures. Sources: deb822(5), deb-version(7), deb-control(5), Debian policy chapters 5 and 7,
// the repository format of the Debian wiki, RFC 9580 section 7 for clear-signed text.
//
// Subset: binary packages of one architecture and "all"; no build relations, no Recommends, no Essential by default.
package debian

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// A Field is one field of a stanza. The value keeps inner line ends; each further line keeps its leading blank.
type Field struct{ Name, Value string }

// A Stanza is the fields of one paragraph, in the order of the text.
type Stanza []Field

// Get returns the value of a field, "" when absent. Names do not mind case.
func (s Stanza) Get(name string) string {
	for _, f := range s {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

// Stanzas calls f for each paragraph of a deb822(5) text; the stanza is only valid during the call. Broken syntax, a
// field that comes twice in a stanza, control characters and text that is not UTF-8 are errors with a line number.
// Lines that start with # are comments.
func Stanzas(text []byte, f func(Stanza) error) error {
	if !utf8.Valid(text) {
		return errors.New("parse stanzas: text is not UTF-8")
	}
	p := stanzaParser{text: string(text)}
	for p.more() {
		if err := p.line(f); err != nil {
			return fmt.Errorf("parse stanzas: line %d: %w", p.number, err)
		}
	}
	return p.flush(f)
}

// A stanzaParser goes through the text once. A value of several lines is one slice of the text: nothing is copied, and
// a field of a thousand lines costs no more than its length.
type stanzaParser struct {
	text   string
	at     int // offset of the next line
	number int
	fields Stanza
	begin  int // offset of the last field's value
}

func (p *stanzaParser) more() bool { return p.at < len(p.text) }

func (p *stanzaParser) line(f func(Stanza) error) error {
	p.number++
	start := p.at
	line, _, _ := strings.Cut(p.text[start:], "\n")
	p.at = min(start+len(line)+1, len(p.text))
	switch {
	case strings.Trim(line, " \t") == "":
		return p.flush(f)
	case line[0] == '#':
		return p.comment()
	case hasControl(line):
		return errors.New("control character")
	case line[0] == ' ' || line[0] == '\t':
		return p.continuation(start + len(line))
	}
	return p.field(line, start)
}

func hasControl(line string) bool {
	for i := 0; i < len(line); i++ {
		if c := line[i]; c < ' ' && c != '\t' || c == 0x7f {
			return true
		}
	}
	return false
}

// comment ends the current value: what follows a comment must be a new field.
func (p *stanzaParser) comment() error {
	p.begin = -1
	return nil
}

// continuation extends the last field's value to an offset.
func (p *stanzaParser) continuation(end int) error {
	if len(p.fields) == 0 || p.begin < 0 {
		return errors.New("a continuation line without a field before it")
	}
	p.fields[len(p.fields)-1].Value = strings.Trim(p.text[p.begin:end], " \t")
	return nil
}

func (p *stanzaParser) field(line string, start int) error {
	name, value, ok := strings.Cut(line, ":")
	if !ok || !validFieldName(name) {
		return fmt.Errorf("%.40q is not a field", line)
	}
	for _, f := range p.fields {
		if strings.EqualFold(f.Name, name) {
			return fmt.Errorf("field %s comes twice in one stanza", name)
		}
	}
	p.begin = start + len(name) + 1
	p.fields = append(p.fields, Field{name, strings.Trim(value, " \t")})
	return nil
}

// validFieldName is policy 5.1: printable ASCII except blank and colon, not starting with # or -.
func validFieldName(name string) bool {
	if name == "" || name[0] == '#' || name[0] == '-' {
		return false
	}
	for i := 0; i < len(name); i++ {
		if name[i] <= ' ' || name[i] > '~' {
			return false
		}
	}
	return true
}

func (p *stanzaParser) flush(f func(Stanza) error) error {
	if len(p.fields) == 0 {
		return nil
	}
	err := f(p.fields)
	p.fields = p.fields[:0]
	return err
}
