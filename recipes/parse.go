package recipes

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Parse reads one recipe, without what it extends and without validating it. Errors are *Error: they carry
// file:line:column, an excerpt and, for a mistyped field, what was probably meant.
func Parse(file string, data []byte) (r *Recipe, err error) {
	// The YAML library has panicked on broken input before; a recipe is a user's text and must never take us down.
	defer func() {
		if p := recover(); p != nil {
			r, err = nil, &Error{File: file, Line: 1, Column: 1, Message: fmt.Sprintf("not YAML that this program can read (%v)", p)}
		}
	}()
	if err := checkText(file, data); err != nil {
		return nil, err
	}
	tree, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, positioned(file, data, err)
	}
	where := places{}
	if err := where.collect(file, data, tree); err != nil {
		return nil, err
	}
	r = new(Recipe)
	err = yaml.NewDecoder(bytes.NewReader(data), yaml.Strict()).Decode(r)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, positioned(file, data, err)
	}
	r.file, r.where = file, where // after decoding, which clears the struct for an empty text
	return r, nil
}

// checkText refuses what no YAML 1.2 text may hold (section 5.1) before the scanner sees it.
func checkText(file string, data []byte) error {
	if len(data) > maxRecipe {
		return &Error{File: file, Line: 1, Column: 1, Message: fmt.Sprintf("%d bytes are too many for a recipe, the limit is %d", len(data), maxRecipe)}
	}
	for n, line := range bytes.Split(data, []byte{'\n'}) {
		for i := 0; i < len(line); {
			c, size := utf8.DecodeRune(line[i:])
			if c == utf8.RuneError && size == 1 || c < ' ' && c != '\t' && c != '\r' || c == 0x7f {
				return newError(file, data, n+1, i+1, "control character or text that is not UTF-8; save the file as plain UTF-8")
			}
			i += size
		}
	}
	return nil
}

// open reads a recipe and, first, what it extends; chain holds the files being read, outermost first.
func open(s source, chain []string) (*Recipe, error) {
	for _, c := range chain {
		if c == s.key() {
			return nil, fmt.Errorf("recipe %s extends itself: %s -> %s", s.path, strings.Join(chain, " -> "), s.key())
		}
	}
	data, err := s.read(maxRecipe)
	if err != nil {
		return nil, fmt.Errorf("open recipe: %w", err)
	}
	r, err := Parse(s.path, data)
	if err != nil {
		return nil, err
	}
	if r.Extends != "" {
		base, err := open(s.relative(r.Extends), append(chain, s.key()))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.where.at("extends", r.file), err)
		}
		r = merge(base, r)
	}
	if len(chain) > 0 {
		return r, nil // validated as part of the recipe that extends it
	}
	return r, r.Validate()
}

// places maps the path of a YAML node ("files[0].path") to where it stands in its file.
type places map[string]place

type place struct {
	file         string
	line, column int
	excerpt      string
}

// at returns "file:line:column", or only the file for a node that is absent.
func (p places) at(node, file string) string {
	if at, ok := p[node]; ok {
		return fmt.Sprintf("%s:%d:%d", at.file, at.line, at.column)
	}
	return file
}

// collect walks the syntax tree, and refuses the constructs that hide what a recipe says.
func (p places) collect(file string, data []byte, tree *ast.File) error {
	if len(tree.Docs) > 1 {
		return newError(file, data, lineOf(tree.Docs[1].Body), 1, "a second YAML document; a recipe is one document")
	}
	for _, doc := range tree.Docs {
		if doc.Body == nil {
			continue
		}
		switch doc.Body.(type) {
		case *ast.MappingNode, *ast.MappingValueNode, *ast.CommentGroupNode, *ast.NullNode:
		default:
			return newError(file, data, lineOf(doc.Body), 1, "a recipe is a mapping (name: ..., kind: ...)")
		}
		if err := p.walk(file, data, "", doc.Body); err != nil {
			return err
		}
	}
	return nil
}

func lineOf(n ast.Node) int {
	if n == nil || n.GetToken() == nil || n.GetToken().Position == nil {
		return 1
	}
	return n.GetToken().Position.Line
}

func (p places) walk(file string, data []byte, path string, n ast.Node) error {
	if n == nil {
		return nil
	}
	p.note(file, data, path, n)
	switch n := n.(type) {
	case *ast.MappingNode:
		for _, v := range n.Values {
			if err := p.walkPair(file, data, path, v); err != nil {
				return err
			}
		}
	case *ast.MappingValueNode:
		return p.walkPair(file, data, path, n)
	case *ast.SequenceNode:
		for i, v := range n.Values {
			if err := p.walk(file, data, fmt.Sprintf("%s[%d]", path, i), v); err != nil {
				return err
			}
		}
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode, *ast.TagNode, *ast.DirectiveNode:
		return newError(file, data, lineOf(n), columnOf(n), "anchors, aliases, merge keys and tags are not part of the recipe format; write the value out, or use extends")
	}
	return nil
}

func (p places) walkPair(file string, data []byte, path string, v *ast.MappingValueNode) error {
	if _, merge := v.Key.(*ast.MergeKeyNode); merge {
		return p.walk(file, data, path, v.Key.(*ast.MergeKeyNode))
	}
	name := v.Key.GetToken().Value
	if path != "" {
		name = path + "." + name
	}
	p.note(file, data, name, v.Key)
	return p.walk(file, data, name, v.Value)
}

func (p places) note(file string, data []byte, path string, n ast.Node) {
	if first := firstKey(n); first != nil {
		if _, named := p[path]; named {
			return // by its key
		}
		n = first
	}
	line, column := lineOf(n), columnOf(n)
	p[path] = place{file: file, line: line, column: column, excerpt: excerpt(data, line, column)}
}

// firstKey is where a mapping in a block begins: the library has it begin at its first colon.
func firstKey(n ast.Node) ast.Node {
	switch m := n.(type) {
	case *ast.MappingNode:
		if !m.IsFlowStyle && len(m.Values) > 0 {
			return m.Values[0].Key
		}
	case *ast.MappingValueNode:
		return m.Key
	}
	return nil
}

func columnOf(n ast.Node) int {
	if n == nil || n.GetToken() == nil || n.GetToken().Position == nil {
		return 1
	}
	return n.GetToken().Position.Column
}
