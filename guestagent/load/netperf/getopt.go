package netperf

import (
	"fmt"
	"strconv"
	"strings"
)

// option is what one flag of a command line does.
type option struct {
	name rune
	kind argument
	set  func(value string) error
}

// argument says whether an option has one.
type argument int

const (
	none     argument = iota
	required          // -l 10 or -l10
	optional          // the next word, when it does not start with a dash
	numeric           // the next word, when it is a number or a pair of them
)

// getopt reads the options of a command line as getopt(3) does, letters combined (-cC) or with their value (-l10), up to
// the first word that is none, and returns the rest. "--" ends it and is dropped.
func getopt(args []string, options []option) (rest []string, err error) {
	for len(args) > 0 {
		word := args[0]
		if word == "--" || len(word) < 2 || word[0] != '-' {
			return args, nil
		}
		if args, err = cluster(word[1:], args[1:], options); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// cluster does the letters of one word and returns the words after it that they left.
func cluster(letters string, args []string, options []option) ([]string, error) {
	for i, c := range letters {
		o := find(options, c)
		if o == nil {
			return nil, fmt.Errorf("option -%c: not supported", c)
		}
		value, rest := "", letters[i+len(string(c)):]
		if o.kind == required {
			if value = rest; rest == "" {
				if len(args) == 0 {
					return nil, fmt.Errorf("option -%c: needs a value", c)
				}
				value, args = args[0], args[1:]
			}
			rest = ""
		} else if rest == "" && o.takes(args) {
			value, args = args[0], args[1:]
		}
		if err := o.set(value); err != nil {
			return nil, fmt.Errorf("option -%c %s: %w", c, value, err)
		}
		if rest == "" {
			break
		}
	}
	return args, nil
}

func find(options []option, name rune) *option {
	for i := range options {
		if options[i].name == name {
			return &options[i]
		}
	}
	return nil
}

// takes says whether the next word is the value of an option that may have one.
func (o *option) takes(args []string) bool {
	if len(args) == 0 {
		return false
	}
	switch o.kind {
	case optional:
		return !strings.HasPrefix(args[0], "-")
	case numeric:
		return args[0] != "" && strings.Trim(args[0], "0123456789.,") == ""
	}
	return false
}

// pair splits "a,b". As in the original, "a" alone is both, "a," the first and ",b" the second; what is not given is "".
func pair(s string) (first, second string) {
	first, second, ok := strings.Cut(s, ",")
	if !ok {
		return s, s
	}
	return first, second
}

// two splits "a,b" where "a" alone is the first.
func two(s string) (first, second string) {
	first, second, _ = strings.Cut(s, ",")
	return first, second
}

// setInt stores a whole number, if one is given. base 0 takes 0x too.
func setInt(to *int, s string, lowest int) error {
	if s == "" {
		return nil
	}
	n, err := strconv.ParseInt(s, 0, 64)
	if err != nil || n < int64(lowest) || n > 1<<31-1 {
		return fmt.Errorf("%q is not a number from %d to %d", s, lowest, 1<<31-1)
	}
	*to = int(n)
	return nil
}

// setSize stores a number of bytes, if one is given.
func setSize(to *int, s string) error {
	if s == "" {
		return nil
	}
	n, err := parseSize(s)
	if err != nil {
		return err
	}
	*to = n
	return nil
}

// parseSize reads a whole number with a unit: K, M, G are powers of 1024, k, m, g of 1000.
func parseSize(s string) (int, error) {
	units := map[byte]int64{'K': 1 << 10, 'M': 1 << 20, 'G': 1 << 30, 'k': 1e3, 'm': 1e6, 'g': 1e9}
	digits, unit := s, int64(1)
	if u, ok := units[s[len(s)-1]]; ok {
		digits, unit = s[:len(s)-1], u
	}
	n, err := strconv.ParseInt(digits, 10, 32)
	if err != nil || n*unit > 1<<31-1 || n*unit < -1<<31 {
		return 0, fmt.Errorf("%q is not a number of bytes", s)
	}
	return int(n * unit), nil
}

// both applies set to the two values of a pair.
func both(set func(to *int, s string) error, a, b *int) func(string) error {
	return func(value string) error {
		first, second := pair(value)
		if err := set(a, first); err != nil {
			return err
		}
		return set(b, second)
	}
}
