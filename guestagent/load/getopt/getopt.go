// Package getopt reads command lines as getopt(3) does, letters combined (-cC) or with their value (-l10), and writes the
// options' part of the manual from the same table.
//
// Beyond getopt(3): options may have a value only when the next word looks like one, and long names, with one dash or
// two (--json, -allow NETS).
package getopt

import (
	"fmt"
	"strings"
)

// Option is what one flag of a command line does, and its line of the manual.
type Option struct {
	Name rune   // 0: it has only a long name
	Long string // "": it has only a letter
	Kind Argument
	Arg  string // how the manual calls the value
	Help string // "" keeps it out of the manual; lines may be broken by "\n"
	Set  func(value string) error
}

// Flag is an option without a value; name is 0 for one that gets a long name only.
func Flag(name rune, help string, set func()) Option {
	return Option{Name: name, Help: help, Set: func(string) error { set(); return nil }}
}

// Value is an option with a value.
func Value(name rune, arg, help string, set func(string) error) Option {
	return Option{Name: name, Kind: Required, Arg: arg, Help: help, Set: set}
}

// Argument says whether an option has one.
type Argument int

// Kinds of arguments.
const (
	None     Argument = iota
	Required          // -l 10 or -l10
	Optional          // the next word, when it does not start with a dash
	Numeric           // the next word, when it is a number or a pair of them
)

// Parse sets the options of a command line up to the first word that is none, and returns the rest. "--" ends it and is
// the first of the rest.
func Parse(args []string, options []Option) (rest []string, err error) {
	for len(args) > 0 {
		word := args[0]
		if word == "--" || len(word) < 2 || word[0] != '-' {
			return args, nil
		}
		if o := findLong(options, word); o != nil {
			args, err = o.apply(word, "", args[1:])
		} else {
			args, err = cluster(word[1:], args[1:], options)
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// apply sets an option; value is what was written together with it. It returns the words that are left.
func (o *Option) apply(shown, value string, args []string) ([]string, error) {
	switch {
	case o.Kind == Required && value == "":
		if len(args) == 0 {
			return nil, fmt.Errorf("option %s: needs a value", shown)
		}
		value, args = args[0], args[1:]
	case value == "" && o.takes(args):
		value, args = args[0], args[1:]
	}
	if err := o.Set(value); err != nil {
		return nil, fmt.Errorf("option %s %s: %w", shown, value, err)
	}
	return args, nil
}

// cluster does the letters of one word and returns the words after it that they left.
func cluster(letters string, args []string, options []Option) ([]string, error) {
	for i, c := range letters {
		shown := "-" + string(c)
		o := find(options, c)
		if o == nil {
			return nil, fmt.Errorf("option %s: not supported", shown)
		}
		rest := letters[i+len(string(c)):]
		if o.Kind == Required || rest == "" {
			return o.apply(shown, rest, args)
		}
		if err := o.Set(""); err != nil {
			return nil, fmt.Errorf("option %s: %w", shown, err)
		}
	}
	return args, nil
}

func find(options []Option, name rune) *Option {
	for i := range options {
		if options[i].Name == name && name != 0 {
			return &options[i]
		}
	}
	return nil
}

func findLong(options []Option, word string) *Option {
	name := strings.TrimPrefix(strings.TrimPrefix(word, "-"), "-")
	for i := range options {
		if options[i].Long == name && name != "" {
			return &options[i]
		}
	}
	return nil
}

// takes says whether the next word is the value of an option that may have one.
func (o *Option) takes(args []string) bool {
	if len(args) == 0 {
		return false
	}
	switch o.Kind {
	case Optional:
		return !strings.HasPrefix(args[0], "-")
	case Numeric:
		return args[0] != "" && strings.Trim(args[0], "0123456789.,") == ""
	}
	return false
}

// column is where the manual's explanations begin, after a tab.
const column = 16

// Manual is the options' part of a manual, a line or more each.
func Manual(options []Option) string {
	var b strings.Builder
	for _, o := range options {
		if o.Help == "" {
			continue
		}
		head := strings.TrimSpace(o.flags() + " " + o.Arg)
		for i, line := range strings.Split(o.Help, "\n") {
			if i > 0 {
				head = ""
			} else if len(head) >= column {
				fmt.Fprintf(&b, "\t%s\n", head)
				head = ""
			}
			fmt.Fprintf(&b, "\t%-*s%s\n", column, head, line)
		}
	}
	return b.String()
}

func (o *Option) flags() string {
	var flags []string
	if o.Name != 0 {
		flags = append(flags, "-"+string(o.Name))
	}
	if o.Long != "" {
		flags = append(flags, "--"+o.Long)
	}
	return strings.Join(flags, ", ")
}
