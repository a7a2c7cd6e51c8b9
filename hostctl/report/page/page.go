package page

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"strings"

	"picolab/hostctl/report"
	"picolab/hostctl/report/compare"
)

//go:embed report.html
var source string

//go:embed style.css
var style string

var page = template.Must(template.New("report").Funcs(template.FuncMap{
	"style": func() template.CSS { return template.CSS(style) },
	"lower": func(v report.Verdict) string { return strings.ToLower(string(v)) },
	"first": report.FirstLine,
}).Parse(source))

// Render returns the report of a run. The same run gives the same bytes.
func Render(o *report.Outcome) ([]byte, error) {
	var b bytes.Buffer
	if err := page.Execute(&b, newView(o)); err != nil {
		return nil, fmt.Errorf("render report: %w", err)
	}
	return b.Bytes(), nil
}

//go:embed compare.html
var compareSource string

var comparison = template.Must(template.New("comparison").Funcs(template.FuncMap{
	"style": func() template.CSS { return template.CSS(style) },
	"lower": func(v report.Verdict) string { return strings.ToLower(string(v)) },
	"short": short,
}).Parse(compareSource))

// RenderComparison returns a comparison as a page of its own.
func RenderComparison(c *compare.Comparison) ([]byte, error) {
	var b bytes.Buffer
	if err := comparison.Execute(&b, c); err != nil {
		return nil, fmt.Errorf("render comparison: %w", err)
	}
	return b.Bytes(), nil
}
