package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestHelp wants of every verb what a person looks for: a text, examples that name the verb, completion of its arguments.
func TestHelp(t *testing.T) {
	var visit func(cmd *cobra.Command, path string)
	visit = func(cmd *cobra.Command, path string) {
		for _, c := range cmd.Commands() {
			name := path + " " + c.Name()
			if c.Name() == "completion" || c.Name() == "help" { // cobra's own
				continue
			}
			if c.Long == "" || c.Short == "" || strings.HasSuffix(c.Short, ".") {
				t.Errorf("%s has no text", name)
			}
			if n := strings.Count(c.Example, name); n < 2 {
				t.Errorf("%s has %d examples", name, n)
			}
			if c.ValidArgsFunction == nil && !slices.Contains([]string{"labimage new", "labimage flash", "labimage lock import"}, name) {
				t.Errorf("%s proposes no arguments", name)
			}
			visit(c, name)
		}
	}
	visit(rootCommand(&Env{}), "labimage")
}

// TestExamplesParse runs the flags of every example through its verb's parser.
func TestExamplesParse(t *testing.T) {
	root := rootCommand(&Env{})
	lines := 0
	for _, verb := range append(root.Commands(), root) {
		for _, c := range append(verb.Commands(), verb) {
			for line := range strings.SplitSeq(c.Example, "\n") {
				_, args, ok := strings.Cut(line, "labimage ")
				if !ok {
					continue
				}
				lines++
				words := strings.Fields(strings.ReplaceAll(args, `"500 MB"`, "500MB"))
				found, rest, err := rootCommand(&Env{}).Find(words)
				if err == nil {
					err = found.ParseFlags(rest)
				}
				if err == nil {
					err = found.ValidateArgs(found.Flags().Args())
				}
				if err != nil {
					t.Errorf("%s: %v", line, err)
				}
			}
		}
	}
	if lines < 20 {
		t.Errorf("only %d examples", lines)
	}
}

func complete(t *testing.T, args ...string) []string {
	t.Helper()
	var out, errOut bytes.Buffer
	if code := Main(t.Context(), Env{Stdout: &out, Stderr: &errOut, Args: append([]string{"__complete"}, args...)}); code != 0 {
		t.Fatal(errOut.String())
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	return lines[:len(lines)-1]
}

func TestCompletion(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"mine.yaml", "mine.lock", "img/guest/manifest.json", "stick.img", "notes.txt", ".hidden.yaml"} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct{ args, want string }{
		{"build ", "guest host img/ mine.yaml"},
		{"build m", "mine.yaml"},
		{"build guest ", ""},
		{"lint g", "guest"},
		{"lock export ho", "host"},
		{"inspect ", "img/ stick.img"},
		{"inspect img/", "img/guest"},
		{"disk st", "stick.img"},
		{"diff mine.yaml mi", "mine.lock mine.yaml"},
		{"diff a b ", ""},
		{"verify img/g", "img/guest"},
		{"new x --from h", "host"},
	} {
		if got := strings.Join(complete(t, strings.Split(tc.args, " ")...), " "); got != tc.want {
			t.Errorf("labimage %s: proposed %q, want %q", tc.args, got, tc.want)
		}
	}
}
