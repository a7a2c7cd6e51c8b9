package recipes

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml"
)

// An Error is a fault in a recipe's text.
type Error struct {
	File         string
	Line, Column int    // from 1; a Line of 0 means that the recipe lacks something
	Message      string // with the remedy
	Excerpt      string // the faulty line and a caret below it; may be empty
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %s", e.File, e.Message)
	}
	text := fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Message)
	if e.Excerpt != "" {
		text += "\n" + e.Excerpt
	}
	return text
}

func newError(file string, data []byte, line, column int, message string) *Error {
	return &Error{File: file, Line: line, Column: column, Message: message, Excerpt: excerpt(data, line, column)}
}

// excerpt shows one line of the text, cut to what fits a terminal, and marks a column.
func excerpt(data []byte, line, column int) string {
	lines := bytes.SplitN(data, []byte{'\n'}, line+1)
	if line < 1 || line > len(lines) {
		return ""
	}
	const width = 100
	text := []rune(strings.ReplaceAll(strings.TrimRight(string(lines[line-1]), "\r"), "\t", " "))
	text = text[:min(len(text), width)]
	caret := min(max(column, 1), len(text)+1) - 1
	return fmt.Sprintf("%5d | %s\n      | %s^", line, string(text), strings.Repeat(" ", caret))
}

// positioned turns an error of the YAML library into ours.
func positioned(file string, data []byte, err error) error {
	var y yaml.Error
	if !errors.As(err, &y) {
		return &Error{File: file, Line: 1, Column: 1, Message: err.Error()}
	}
	line, column := 1, 1
	if tk := y.GetToken(); tk != nil && tk.Position != nil {
		line, column = tk.Position.Line, tk.Position.Column
	}
	return newError(file, data, line, column, explain(y.GetMessage()))
}

var (
	unknownField = regexp.MustCompile(`^unknown field "(.*)"$`)
	typeMismatch = regexp.MustCompile(`^cannot unmarshal (?:.* )?into Go struct field \S+ of type (\S+)$`)
)

// explain puts the library's message into the words of a recipe, with the remedy.
func explain(message string) string {
	if m := unknownField.FindStringSubmatch(message); m != nil {
		if near := nearest(m[1], fieldNames(reflect.TypeFor[Recipe]())); near != "" {
			return fmt.Sprintf("unknown field %q, did you mean %q?", m[1], near)
		}
		return fmt.Sprintf("unknown field %q", m[1])
	}
	if m := typeMismatch.FindStringSubmatch(message); m != nil {
		return fmt.Sprintf("wrong kind of value, expected %s", kindOf(m[1]))
	}
	return message
}

func kindOf(goType string) string {
	switch {
	case strings.HasPrefix(goType, "[]"):
		return "a list"
	case goType == "string" || strings.HasSuffix(goType, ".Size"):
		return "one text value"
	}
	return "a mapping"
}

// fieldNames lists the yaml names of a struct and of the structs in it.
func fieldNames(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		f := t.Field(i)
		if tag := f.Tag.Get("yaml"); tag != "" && tag != "-" {
			names = append(names, tag)
		}
		inner := f.Type
		if inner.Kind() == reflect.Slice {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct && f.IsExported() {
			names = append(names, fieldNames(inner)...)
		}
	}
	return names
}

// nearest returns the name with the smallest edit distance to word, if it is small enough for a typing error.
func nearest(word string, names []string) string {
	best, distance := "", 1+min(2, len(word)/2)
	for _, n := range names {
		if d := editDistance(strings.ToLower(word), n); d < distance {
			best, distance = n, d
		}
	}
	return best
}

// editDistance counts insertions, deletions and substitutions (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost++
			}
			diagonal = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}
