package getopt

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// table notes what is set.
func table(got *[]string) []Option {
	note := func(name string) func(string) error {
		return func(v string) error {
			if v == "bad" {
				return errors.New("no good")
			}
			*got = append(*got, strings.TrimSpace(name+" "+v))
			return nil
		}
	}
	return []Option{
		{Name: 'c', Help: "count", Set: note("c")},
		{Name: 'l', Kind: Required, Arg: "n", Help: "length,\nin seconds", Set: note("l")},
		{Name: 'k', Kind: Optional, Arg: "[list]", Help: "keys", Set: note("k")},
		{Name: 'D', Kind: Numeric, Set: note("D")},
		{Long: "allow", Kind: Required, Arg: "networks", Help: "who may", Set: note("allow")},
		{Name: 'j', Long: "json", Help: "as JSON", Set: note("json")},
	}
}

func TestParse(t *testing.T) {
	for line, want := range map[string]string{
		"-c -l 10 x y":        "[c l 10] [x y]",
		"-cl10 -- -c":         "[c l 10] [-- -c]",
		"-k a,b -k -c":        "[k a,b k c] []",
		"-D 1.5 -D x":         "[D 1.5 D] [x]",
		"-cD 2":               "[c D 2] []",
		"--json -allow ::/0":  "[json allow ::/0] []",
		"-j --allow 10.0.0.1": "[json allow 10.0.0.1] []",
		"-":                   "[] [-]",
		"":                    "[] []",
		"-x":                  "option -x: not supported",
		"-l":                  "option -l: needs a value",
		"-cl":                 "option -l: needs a value",
		"--allow":             "option --allow: needs a value",
		"-l bad":              "option -l bad: no good",
		"--nothing":           "option --: not supported",
	} {
		var got []string
		rest, err := Parse(strings.Fields(line), table(&got))
		have := fmt.Sprint(got, " ", rest)
		if err != nil {
			have = err.Error()
		}
		if have != want {
			t.Errorf("%q: %s, want %s", line, have, want)
		}
	}
}

func TestManual(t *testing.T) {
	want := `	-c              count
	-l n            length,
	                in seconds
	-k [list]       keys
	--allow networks
	                who may
	-j, --json      as JSON
`
	if got := Manual(table(new([]string))); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("-cl10 -k -D 5 --json x")
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.Split(line, " ")
		rest, err := Parse(args, table(new([]string)))
		if err == nil && len(rest) > 0 && rest[0] != "--" && len(rest[0]) > 1 && rest[0][0] == '-' {
			t.Fatalf("%q leaves an option: %q", line, rest)
		}
	})
}
