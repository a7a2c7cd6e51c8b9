package proc

import "strings"

// String is the command line as it can be pasted into a POSIX shell.
func (c Cmd) String() string {
	return Quote(append([]string{c.Path}, c.Args...))
}

// Quote joins arguments into one line that a POSIX shell splits into the same arguments.
func Quote(args []string) string {
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = quote(a)
	}
	if len(args) > 0 && quoted[0] == args[0] && strings.Contains(args[0], "=") {
		quoted[0] = "'" + args[0] + "'"
	}
	return strings.Join(quoted, " ")
}

// safe are the characters that no POSIX shell treats specially anywhere in a word. '=' is one because only a word before
// the program's name can be an assignment; '~' and '#' are not, being special at the start of a word.
const safe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:,=+@%^"

func quote(s string) string {
	if s != "" && strings.Trim(s, safe) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
