package report

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// The elements of JUnit's XML as Jenkins' junit-10.xsd has them: a testcase has
// at most one of skipped, error and failure, then at most one system-out.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Name     string       `xml:"name,attr"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Errors   int          `xml:"errors,attr"`
		Time     string       `xml:"time,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name      string      `xml:"name,attr"`
		Tests     int         `xml:"tests,attr"`
		Failures  int         `xml:"failures,attr"`
		Errors    int         `xml:"errors,attr"`
		Skipped   int         `xml:"skipped,attr"`
		Time      string      `xml:"time,attr"`
		Timestamp string      `xml:"timestamp,attr,omitempty"`
		Hostname  string      `xml:"hostname,attr,omitempty"`
		Cases     []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Name    string    `xml:"name,attr"`
		Class   string    `xml:"classname,attr"`
		Time    string    `xml:"time,attr"`
		Skipped *junitWhy `xml:"skipped"`
		Error   *junitWhy `xml:"error"`
		Failure *junitWhy `xml:"failure"`
		Out     string    `xml:"system-out,omitempty"`
	}
	junitWhy struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr,omitempty"`
		Text    string `xml:",chardata"`
	}
)

// JUnit returns the run as JUnit XML: one testsuite a case, one testcase an
// instance.  JUnit has no words for XFAIL, XPASS and DEGRADED: XFAIL is skipped,
// XPASS a failure, DEGRADED passes with its reason in system-out.  Planned
// instances without a result are errors, unless the run was interrupted.
func JUnit(o *Outcome) ([]byte, error) {
	doc := junitSuites{Name: "picolab", Time: seconds(o.Seconds)}
	for _, r := range WithMissing(o) {
		doc.add(r)
	}
	for i := range doc.Suites {
		s := &doc.Suites[i]
		doc.Tests, doc.Failures, doc.Errors = doc.Tests+s.Tests, doc.Failures+s.Failures, doc.Errors+s.Errors
	}
	var b bytes.Buffer
	b.WriteString(xml.Header)
	enc := xml.NewEncoder(&b)
	enc.Indent("", "  ")
	if err := enc.Encode(doc); err != nil {
		return nil, fmt.Errorf("encode junit: %w", err)
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// WithMissing returns the results and a stand-in for each planned instance that
// has none.
func WithMissing(o *Outcome) []Result {
	all := append([]Result(nil), o.Results...)
	verdict, reason := Error, "no result: the run ended before this instance did"
	if o.Interrupted {
		verdict, reason = Skip, "not run: interrupted"
	}
	for _, id := range o.Missing() {
		name, _, _ := strings.Cut(id, "[")
		all = append(all, Result{Case: name, Instance: id, Result: verdict, Reason: reason})
	}
	return all
}

func (d *junitSuites) add(r Result) {
	s := d.suite(r)
	c := junitCase{Name: clean(r.Instance), Class: clean(r.Case), Time: seconds(r.Seconds), Out: clean(details(&r))}
	why := &junitWhy{Message: clean(FirstLine(r.Reason)), Type: string(r.Result), Text: clean(r.Reason)}
	s.Tests++
	switch r.Result {
	case Skip, XFail:
		s.Skipped++
		c.Skipped = &junitWhy{Message: string(r.Result) + ": " + why.Message, Text: why.Text}
	case Fail, XPass:
		s.Failures++
		c.Failure = why
	case Error:
		s.Errors++
		c.Error = why
	}
	s.Cases = append(s.Cases, c)
}

// suite returns the testsuite of r's case, made on first use, with r's time in.
func (d *junitSuites) suite(r Result) *junitSuite {
	for i := range d.Suites {
		if s := &d.Suites[i]; s.Name == r.Case {
			s.Time = seconds(parseSeconds(s.Time) + r.Seconds)
			return s
		}
	}
	s := junitSuite{Name: clean(r.Case), Time: seconds(r.Seconds), Hostname: clean(r.Host.Name)}
	if !r.Started.IsZero() {
		s.Timestamp = r.Started.UTC().Format("2006-01-02T15:04:05")
	}
	d.Suites = append(d.Suites, s)
	return &d.Suites[len(d.Suites)-1]
}

// details lists what a reader of a CI page wants of an instance.
func details(r *Result) string {
	var b strings.Builder
	if r.Result == Degraded {
		fmt.Fprintf(&b, "DEGRADED: %s\n", r.Reason)
	}
	for _, c := range r.Checks {
		fmt.Fprintf(&b, "%s %s: expected %s, got %s\n", mark(c.OK), c.Name, c.Expected, c.Got)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	for _, e := range r.Evidence {
		fmt.Fprintf(&b, "[[ATTACHMENT|%s]]\n", e)
	}
	return b.String()
}

func mark(ok bool) string {
	if ok {
		return "ok  "
	}
	return "FAIL"
}

// FirstLine is what comes before the first line end.
func FirstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

func seconds(s float64) string { return fmt.Sprintf("%.3f", s) }

func parseSeconds(s string) float64 {
	d, _ := time.ParseDuration(s + "s")
	return d.Seconds()
}

// clean replaces what XML 1.0 cannot carry: consoles hold control characters
// and bytes that are no UTF-8.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r == utf8.RuneError || unicode.IsControl(r) || r == 0xFFFE || r == 0xFFFF:
			return '?'
		}
		return r
	}, s)
}
