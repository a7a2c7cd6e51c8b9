package fake

import (
	"slices"
	"strings"
	"testing"

	"picolab/hostctl/report"
)

// MustFail requires that r is a FAIL and that a check whose name begins with name
// does not hold.
func MustFail(t *testing.T, r report.Result, name string) {
	t.Helper()
	if r.Result != report.Fail {
		t.Errorf("%s: %s, want FAIL: %s", r.Instance, r.Result, r.Reason)
		return
	}
	named := func(c report.Check) bool { return strings.HasPrefix(c.Name, name) }
	if !slices.ContainsFunc(r.Failed(), named) {
		t.Errorf("%s: no failed check begins with %q: %v; %s", r.Instance, name, r.Failed(), r.Reason)
	}
}
