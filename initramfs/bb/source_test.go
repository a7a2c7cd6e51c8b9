package bb

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// writeTree makes files below dir.
func writeTree(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// sources is a small module of ours.
var sources = map[string]string{
	"go.mod":                "module picolab\n\ngo 1.26.0\n",
	"go.sum":                "",
	"cmd/hello/main.go":     "package main\n\nimport \"picolab/greet\"\n\nfunc main() { greet.Say(\"hello\") }\n",
	"cmd/hello/main_arm.go": "package main\n\nimport _ \"picolab/nowhere\"\n",
	"greet/greet.go":        "package greet\n\nimport _ \"embed\"\n\n//go:embed text\nvar text string\n\nfunc Say(s string) { println(s, text) }\n",
	"greet/greet_test.go":   "package greet\n",
	"greet/text":            "there",
	"greet/notes":           "not embedded",
	"other/other.go":        "package other\n",
}

func TestFindModule(t *testing.T) {
	dir := t.TempDir()
	writeTree(t, dir, sources)
	got, err := FindModule(filepath.Join(dir, "cmd", "hello"))
	if err != nil || got != dir {
		t.Errorf("FindModule = %q, %v, want %q", got, err, dir)
	}
	elsewhere := t.TempDir()
	writeTree(t, elsewhere, map[string]string{"go.mod": "module other\n"})
	_, err = FindModule(elsewhere)
	var missing *SourceError
	if !errors.As(err, &missing) || !strings.Contains(err.Error(), "--source") {
		t.Errorf("FindModule outside the tree: %v, want a SourceError with the remedy", err)
	}
}

func TestClosureFollowsEverySource(t *testing.T) {
	tests := []struct {
		file    string
		changes bool
	}{
		{"cmd/hello/main.go", true},
		{"greet/greet.go", true},
		{"greet/text", true},
		{"greet/notes", false},
		{"greet/greet_test.go", false},
		{"cmd/hello/main_arm.go", false},
		{"other/other.go", false},
	}
	dir := t.TempDir()
	writeTree(t, dir, sources)
	sum := func() string {
		c, err := sourceClosure(dir, []string{"picolab/cmd/hello"})
		if err != nil {
			t.Fatal(err)
		}
		return c.sum
	}
	for _, tt := range tests {
		before := sum()
		writeTree(t, dir, map[string]string{tt.file: sources[tt.file] + "\n// changed\n"})
		if got := sum() != before; got != tt.changes {
			t.Errorf("after a change to %s: key changes %t, want %t", tt.file, got, tt.changes)
		}
	}
}

func TestKeyDependsOnToolsAndCommands(t *testing.T) {
	base := builder{go_: toolchain{version: "go1.26.0"}, own: []string{"picolab/cmd/hello"}, sums: []byte("sums"), source: &closure{sum: "s"}}
	seen := map[string]string{base.key(): "base"}
	for what, change := range map[string]func(*builder){
		"go version": func(b *builder) { b.go_.version = "go1.26.1" },
		"go.sum":     func(b *builder) { b.sums = []byte("other") },
		"commands":   func(b *builder) { b.other = []string{"example.com/x"} },
		"sources":    func(b *builder) { b.source = &closure{sum: "t"} },
	} {
		b := base
		change(&b)
		if other, ok := seen[b.key()]; ok {
			t.Errorf("a change of %s gives the key of %s", what, other)
		}
		seen[b.key()] = what
	}
}

func TestAsPackage(t *testing.T) {
	const src = "// Hello greets.\npackage main\n\nvar main2 = 1\n\ntype t struct{}\n\nfunc (t) main() {}\n\nfunc main() { println(main2) }\n"
	const want = "// Hello greets.\npackage bbnetperf_2\n\nvar main2 = 1\n\ntype t struct{}\n\nfunc (t) main() {}\n\nfunc busyboxMain() { println(main2) }\n"
	got, err := asPackage("main.go", []byte(src), "net-perf_2")
	if err != nil || string(got) != want {
		t.Errorf("asPackage:\n%s\n%v\nwant:\n%s", got, err, want)
	}
}

func TestAsPackageRefusesWhatWouldReachOtherCommands(t *testing.T) {
	tests := []struct{ name, src, want string }{
		{"init", "package main\nfunc init() {}\nfunc main() {}\n", "func init"},
		{"flag", "package main\nimport \"flag\"\nvar n = flag.Int(\"n\", 1, \"\")\nfunc main() {}\n", "flags"},
		{"syntax", "package main\nfunc main( {}\n", "expected"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := asPackage("main.go", []byte(tt.src), "x")
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one about %q", err, tt.want)
			}
		})
	}
	const fine = "package main\nimport \"flag\"\nvar f = func() *int { return flag.Int(\"n\", 1, \"\") }\nfunc main() {}\n"
	if _, err := asPackage("main.go", []byte(fine), "x"); err != nil {
		t.Errorf("a flag inside a function: %v", err)
	}
}

func TestSortCommandsRefusesDuplicates(t *testing.T) {
	for _, commands := range [][]string{nil, {"a.com/x", "picolab/cmd/x"}, {"picolab/cmd/bb"}} {
		b := &builder{Options: Options{Commands: commands}}
		if err := b.sortCommands(); err == nil {
			t.Errorf("commands %q accepted", commands)
		}
	}
}

func TestPublishIsAllOrNothing(t *testing.T) {
	entry := filepath.Join(t.TempDir(), "cache", "entry")
	fill := func(err error) func(string) error {
		return func(tmp string) error {
			return errors.Join(os.WriteFile(filepath.Join(tmp, "x"), []byte("x"), 0o644), err)
		}
	}
	if err := publish(entry, fill(errors.New("disk full"))); err == nil {
		t.Error("the error of filling is lost")
	}
	if names, _ := os.ReadDir(filepath.Dir(entry)); len(names) != 0 {
		t.Errorf("a failed entry leaves %v", names)
	}
	for range 2 { // the second finds the first one's
		if err := publish(entry, fill(nil)); err != nil {
			t.Error(err)
		}
	}
}

func TestPruneKeepsTheNewest(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b", "c", ".new-1"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	touch(filepath.Join(dir, "a"))
	prune(dir, 2)
	left, _ := os.ReadDir(dir)
	if len(left) != 3 || left[1].Name() != "a" { // .new-1 is young, a was used last
		t.Errorf("left %v", left)
	}
}
