package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
)

// element is any XML element.
type element struct {
	XMLName  xml.Name
	Attrs    []xml.Attr `xml:",any,attr"`
	Children []element  `xml:",any"`
}

func (e element) attr(name string) string {
	for _, a := range e.Attrs {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// schema is what Jenkins' junit-10.xsd says of the elements we use: their
// required attributes, and their children in order.
var schema = map[string]struct{ attrs, children []string }{
	"testsuites": {[]string{"name", "tests", "failures", "errors", "time"}, []string{"testsuite"}},
	"testsuite":  {[]string{"name", "tests", "failures", "errors", "skipped", "time"}, []string{"testcase"}},
	"testcase":   {[]string{"name", "classname", "time"}, []string{"skipped", "error", "failure", "system-out"}},
	"skipped":    {[]string{"message"}, nil},
	"error":      {[]string{"message", "type"}, nil},
	"failure":    {[]string{"message", "type"}, nil},
	"system-out": {nil, nil},
}

// check reports where an element is not as the schema wants it.
func (e element) check() error {
	rule, ok := schema[e.XMLName.Local]
	if !ok {
		return fmt.Errorf("unknown element %s", e.XMLName.Local)
	}
	for _, a := range rule.attrs {
		if e.attr(a) == "" {
			return fmt.Errorf("%s: no attribute %s", e.XMLName.Local, a)
		}
	}
	last := 0
	for _, c := range e.Children {
		at := slices.Index(rule.children, c.XMLName.Local)
		if at < last {
			return fmt.Errorf("%s: child %s is none or out of order", e.XMLName.Local, c.XMLName.Local)
		}
		last = at
		if err := c.check(); err != nil {
			return err
		}
	}
	return nil
}

func parse(t *testing.T, doc []byte) element {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(doc))
	d.Strict = true
	var root element
	if err := d.Decode(&root); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Token(); err != nil && !errors.Is(err, io.EOF) {
		t.Fatalf("after the document: %v", err)
	}
	return root
}

// TestJUnit checks the document against the schema, and its numbers against its
// own contents and the results.
func TestJUnit(t *testing.T) {
	o := sample()
	o.Run.Planned = append(o.Run.Planned, "s.lost[nic=virtio]")
	o.Results[2].Reason = "console: \x1b[31m\x00\xff\ufffe <oops> & \"x\" ]]>"
	doc, err := JUnit(o)
	if err != nil {
		t.Fatal(err)
	}
	root := parse(t, doc)
	if err := root.check(); err != nil {
		t.Error(err)
	}
	total := map[string]int{}
	for _, s := range root.Children {
		n := map[string]int{"tests": len(s.Children)}
		for _, c := range s.Children {
			for _, e := range c.Children {
				n[e.XMLName.Local]++
			}
		}
		for attr, child := range map[string]string{"tests": "tests", "failures": "failure", "errors": "error", "skipped": "skipped"} {
			if got, _ := strconv.Atoi(s.attr(attr)); got != n[child] {
				t.Errorf("%s: %s=%d, has %d", s.attr("name"), attr, got, n[child])
			}
			total[attr] += n[child]
		}
	}
	want := map[string]int{"tests": 8, "failures": 2, "errors": 2, "skipped": 2}
	for attr, n := range want {
		if total[attr] != n {
			t.Errorf("%d %s, want %d", total[attr], attr, n)
		}
	}
	if root.attr("tests") != "8" || root.attr("failures") != "2" || root.attr("errors") != "2" {
		t.Errorf("totals of the root: %v", root.Attrs)
	}
}

// TestJUnitSchemaBites shows that the check can fail.
func TestJUnitSchemaBites(t *testing.T) {
	for _, doc := range []string{
		`<testsuites name="x" tests="0" failures="0" errors="0"/>`,
		`<testsuites name="x" tests="0" failures="0" errors="0" time="1"><oops/></testsuites>`,
		`<testcase name="a" classname="b" time="1"><system-out/><failure message="m" type="t"/></testcase>`,
	} {
		if parse(t, []byte(doc)).check() == nil {
			t.Errorf("not refused: %s", doc)
		}
	}
}

func TestJUnitByXmllint(t *testing.T) {
	lint, err := exec.LookPath("xmllint")
	if err != nil {
		t.Skip("xmllint(1) not installed")
	}
	doc, err := JUnit(sample())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), JUnitFile)
	if err := os.WriteFile(path, doc, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(lint, "--noout", path).CombinedOutput(); err != nil {
		t.Errorf("xmllint: %v\n%s", err, out)
	}
}
