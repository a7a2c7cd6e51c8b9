package pcapfilter

import (
	"fmt"
	"strings"
)

// split cuts an expression into words and signs.
func split(text string) (words []string, err error) {
	for {
		if text = strings.TrimLeft(text, " \t\r\n"); text == "" {
			return words, nil
		}
		n := sign(text)
		if n == 0 {
			n = word(text)
		}
		if n == 0 {
			return nil, fmt.Errorf("%q is not expected", text[:1])
		}
		words = append(words, strings.ToLower(text[:n]))
		text = text[n:]
	}
}

// sign is the length of the sign a text begins with.
func sign(text string) int {
	for _, s := range []string{"&&", "||", "==", "!=", "<=", ">=", "(", ")", "[", "]", "!", "&", "|", "=", "<", ">"} {
		if strings.HasPrefix(text, s) {
			return len(s)
		}
	}
	return 0
}

// word is the length of the word a text begins with: a name, number, address, network or range. Inside of brackets a
// colon ends it, which parser.bracket sorts out.
func word(text string) int {
	return len(text) - len(strings.TrimLeft(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:/-_\\"))
}

// parser holds the words that are left.
type parser struct {
	words []string
	vlans int
	live  bool
}

func (p *parser) peek() string {
	if len(p.words) == 0 {
		return ""
	}
	return p.words[0]
}

func (p *parser) next() string {
	w := p.peek()
	if w != "" {
		p.words = p.words[1:]
	}
	return w
}

func (p *parser) take(words ...string) bool {
	for _, w := range words {
		if p.peek() == w {
			p.next()
			return true
		}
	}
	return false
}

// expression is terms with "and" and "or" between them, which bind equally and to the left.
func (p *parser) expression(q qualifiers) (expr, error) {
	left, q, err := p.term(q)
	for err == nil {
		var right expr
		switch {
		case p.take("and", "&&"):
			if right, q, err = p.term(q); err == nil {
				left = both{left, right}
			}
		case p.take("or", "||"):
			if right, q, err = p.term(q); err == nil {
				left = either{left, right}
			}
		default:
			return left, nil
		}
	}
	return nil, err
}

// term is a primitive, an expression in parentheses, or the negation of one. It returns the qualifiers that hold after it.
func (p *parser) term(q qualifiers) (expr, qualifiers, error) {
	switch {
	case p.take("not", "!"):
		e, q, err := p.term(q)
		return negated{e}, q, err
	case p.take("("):
		e, err := p.group(q)
		return e, q, err
	}
	return p.primitive(q)
}

func (p *parser) group(q qualifiers) (expr, error) {
	e, err := p.expression(q)
	if err == nil && !p.take(")") {
		err = fmt.Errorf("%q where \")\" should be", p.peek())
	}
	return e, err
}
