package pktgen

import (
	"fmt"
	"strings"
)

// option is what one option of a command line does; those of one letter are typed -x, others --xyz.
type option struct {
	name  string
	value bool // it has one: -i eth0 or -ieth0, --name=value
	set   func(value string) error
}

// flag and valued make options.
func flag(name string, to *bool) option {
	return option{name: name, set: func(string) error { *to = true; return nil }}
}

func valued(name string, set func(string) error) option {
	return option{name: name, value: true, set: set}
}

// getopt reads a command line as getopt(3) does, letters combined or with their value, and returns the words that are
// no options, up to which it reads.
func getopt(args []string, options []option) ([]string, error) {
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		word := args[0][1:]
		args = args[1:]
		if word == "-" {
			return args, nil
		}
		var err error
		if long, ok := strings.CutPrefix(word, "-"); ok {
			err = longOption(long, options)
		} else {
			args, err = letters(word, args, options)
		}
		if err != nil {
			return nil, err
		}
	}
	return args, nil
}

func longOption(word string, options []option) error {
	name, value, given := strings.Cut(word, "=")
	o := findOption(options, name)
	if o == nil || len(name) == 1 {
		return fmt.Errorf("option --%s: not supported", name)
	}
	if o.value != given {
		return fmt.Errorf("option --%s: %s", name, map[bool]string{true: "needs =VALUE", false: "has no value"}[o.value])
	}
	return o.apply("--"+name, value)
}

// letters does the options of one word, and returns what it left of the words after it.
func letters(word string, args []string, options []option) ([]string, error) {
	for i, c := range word {
		o := findOption(options, string(c))
		if o == nil {
			return nil, fmt.Errorf("option -%c: not supported", c)
		}
		if !o.value {
			if err := o.apply("-"+o.name, ""); err != nil {
				return nil, err
			}
			continue
		}
		value := word[i+len(string(c)):]
		if value == "" {
			if len(args) == 0 {
				return nil, fmt.Errorf("option -%c: needs a value", c)
			}
			value, args = args[0], args[1:]
		}
		return args, o.apply("-"+o.name, value)
	}
	return args, nil
}

func findOption(options []option, name string) *option {
	for i := range options {
		if options[i].name == name {
			return &options[i]
		}
	}
	return nil
}

func (o *option) apply(name, value string) error {
	if err := o.set(value); err != nil {
		return fmt.Errorf("option %s: %w", strings.TrimSpace(name+" "+value), err)
	}
	return nil
}
