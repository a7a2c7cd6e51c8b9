package debian

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func stanzasOf(text string) (out []Stanza, err error) {
	err = Stanzas([]byte(text), func(s Stanza) error {
		out = append(out, slices.Clone(s))
		return nil
	})
	return out, err
}

func TestStanzas(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "[]"},
		{"one", "A: 1\nB: 2\n", "[[{A 1} {B 2}]]"},
		{"no-end", "A: 1", "[[{A 1}]]"},
		{"two", "A: 1\n\n\n \t\nA: 2\n", "[[{A 1}] [{A 2}]]"},
		{"lines", "A: 1\n 2\n\t3 \nB:x\n", "[[{A 1\n 2\n\t3} {B x}]]"},
		{"empty-first-line", "A:\n 1\n 2\n", "[[{A \n 1\n 2}]]"},
		{"comments", "# c\nA: 1\n# c\nB: 2\n", "[[{A 1} {B 2}]]"},
		{"colon-in-value", "A: b:c\n", "[[{A b:c}]]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := stanzasOf(c.text)
			if err != nil {
				t.Fatal(err)
			}
			if s := fmt.Sprint(got); s != c.want {
				t.Errorf("got %q, want %q", s, c.want)
			}
		})
	}
}

func TestStanzasRefuses(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{" 1\n", "continuation line without"},
		{"A: 1\n# c\n 2\n", "continuation line without"},
		{"A 1\n", "not a field"},
		{": 1\n", "not a field"},
		{"-A: 1\n", "not a field"},
		{"A b: 1\n", "not a field"},
		{"A: 1\nB: 1\na: 2\n", "line 3: field a comes twice"},
		{"A: 1\x00\n", "control character"},
		{"A: 1\r\n", "control character"},
		{"A: \xff\n", "UTF-8"},
	} {
		if _, err := stanzasOf(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: error %v, want one with %q", c.text, err, c.want)
		}
	}
}

func TestStanzaGetIgnoresCase(t *testing.T) {
	if got := (Stanza{{"Package", "x"}}).Get("package"); got != "x" {
		t.Errorf("got %q", got)
	}
}

// FuzzStanzas: no input makes the parser fail otherwise than by an error, and what it accepts survives being written
// and read again.
func FuzzStanzas(f *testing.F) {
	for _, seed := range []string{"A: 1\n\nB: 2\n", "A:\n x\n .\n y\n", "# c\nA: b: c\n", "A: 1\nA: 2\n", " x", "A: \xf0\x9f\x98\x80\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		first, err := stanzasOf(text)
		if err != nil {
			return
		}
		var b strings.Builder
		for _, s := range first {
			for _, field := range s {
				fmt.Fprintf(&b, "%s:%s\n", field.Name, field.Value)
			}
			b.WriteString("\n")
		}
		second, err := stanzasOf(b.String())
		if err != nil || fmt.Sprint(first) != fmt.Sprint(second) {
			t.Errorf("read %q, wrote %q, read %q (%v)", first, b.String(), second, err)
		}
	})
}

// BenchmarkPackages parses an index of the size of a real one.
func BenchmarkPackages(b *testing.B) {
	var text strings.Builder
	for i := range 60_000 {
		fmt.Fprintf(&text, "Package: pkg%d\nSource: src\nVersion: 1.%d-1\nInstalled-Size: 100\nMaintainer: Someone <someone@example.invalid>\n"+
			"Architecture: amd64\nDepends: libc6 (>= 2.38), libfoo%d | bar, baz:any\nDescription: a package\nHomepage: https://example.invalid/\n"+
			"Section: misc\nPriority: optional\nFilename: pool/main/p/pkg%d/pkg%d_1.%d-1_amd64.deb\nSize: 12345\nSHA256: %064x\n\n", i, i, i, i, i, i, i)
	}
	b.SetBytes(int64(text.Len()))
	for b.Loop() {
		packages, err := ParsePackages([]byte(text.String()), "amd64")
		if err != nil || len(packages) != 60_000 {
			b.Fatal(len(packages), err)
		}
	}
}
