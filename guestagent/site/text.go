package site

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// A TextError is a fault in a text of the site folder.
type TextError struct {
	File         string
	Line, Column int // from 1
	Message      string
}

func (e *TextError) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Message)
}

// A text is a YAML text that was read, with the places of its nodes.
type text struct {
	file string
	tree *ast.File
}

// decode reads a YAML text strictly: fields it does not know are errors. An empty text leaves v as it is.
func decode(file string, data []byte, v any) (t text, err error) {
	// The YAML library has panicked on broken input before; a user's text must never take PID 1 down.
	defer func() {
		if p := recover(); p != nil {
			err = &TextError{file, 1, 1, fmt.Sprintf("not YAML that this program can read (%v)", p)}
		}
	}()
	if err := checkText(file, data); err != nil {
		return text{}, err
	}
	tree, err := parser.ParseBytes(data, 0)
	if err == nil {
		err = yaml.NewDecoder(bytes.NewReader(data), yaml.Strict()).Decode(v)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return text{}, positioned(file, err)
	}
	return text{file, tree}, nil
}

// checkText refuses control characters and what is not UTF-8; some editors write UTF-16.
func checkText(file string, data []byte) error {
	line, column := 1, 1
	for len(data) > 0 {
		c, size := utf8.DecodeRune(data)
		switch {
		case c == utf8.RuneError && size == 1 || c < ' ' && c != '\t' && c != '\r' && c != '\n':
			return &TextError{file, line, column, "control character or text that is not UTF-8; save the file as plain UTF-8"}
		case c == '\n':
			line, column = line+1, 0
		}
		column++
		data = data[size:]
	}
	return nil
}

// positioned turns an error of the YAML library into ours.
func positioned(file string, err error) error {
	var y yaml.Error
	if !errors.As(err, &y) {
		return &TextError{file, 1, 1, err.Error()}
	}
	e := &TextError{file, 1, 1, y.GetMessage()}
	if tk := y.GetToken(); tk != nil && tk.Position != nil {
		e.Line, e.Column = tk.Position.Line, tk.Position.Column
	}
	return e
}

// fault is an error at a node, which steps lead to from the root: the keys of mappings (string) and the indices of
// lists (int).
func (t text) fault(err error, steps ...any) error {
	p := (&yaml.PathBuilder{}).Root()
	for _, s := range steps {
		switch s := s.(type) {
		case string:
			p = p.Child(s)
		case int:
			p = p.Index(uint(s))
		}
	}
	e := &TextError{t.file, 1, 1, err.Error()}
	if n, ferr := p.Build().FilterFile(t.tree); ferr == nil && n != nil && n.GetToken() != nil {
		e.Line, e.Column = n.GetToken().Position.Line, n.GetToken().Position.Column
	}
	return e
}
