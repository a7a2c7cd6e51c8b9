package catalogue_test

import (
	"slices"
	"strings"
	"testing"

	"picolab/hostctl/catalogue"
	"picolab/hostctl/catalogue/internal/fake"
	"picolab/hostctl/report"
)

// TestHang tells a guest that hangs from a QEMU that does, by the same silence of its agent.
func TestHang(t *testing.T) {
	ask := aCase("s.c", func(t *catalogue.T) { t.Guest("a").Driver("eth0") })
	for name, tt := range map[string]struct {
		faults fake.Faults
		want   report.Verdict
		reason string
	}{
		"the guest": {fake.Faults{Hung: true}, report.Fail, "guest a hangs: get driver of eth0: no answer, nor to its agent's being called again for 200ms; " +
			"QEMU says that it runs; RIP=ffffffff81000000 RFL=00000046 HLT=1"},
		"its QEMU": {fake.Faults{HungQEMU: true}, report.Error, "guest a: get driver of eth0: neither its agent nor its QEMU answers: qmp connection closed"},
	} {
		t.Run(name, func(t *testing.T) {
			r := runAll(t, tt.faults, ask)[0]
			if r.Result != tt.want || r.Reason != tt.reason {
				t.Errorf("%s: %s", r.Result, r.Reason)
			}
			registers := func(f string) bool { return strings.HasSuffix(f, "a.hang.txt") }
			if slices.ContainsFunc(r.Evidence, registers) != (tt.want == report.Fail) {
				t.Errorf("evidence %v", r.Evidence)
			}
		})
	}
}

// TestQEMUEnds: that QEMU ended is ours, unless the guest's kernel said something bad before.
func TestQEMUEnds(t *testing.T) {
	gone := catalogue.Finding{Guest: "a", Kind: "qemu-ended", Title: "QEMU ended by itself: signal: killed", Fatal: true, Ours: true}
	bug := catalogue.Finding{Guest: "a", Kind: "bug", Title: "BUG: bad page state"}
	for name, tt := range map[string]struct {
		said   []catalogue.Finding
		want   report.Verdict
		reason string
	}{
		"alone":              {[]catalogue.Finding{gone}, report.Error, "guest a: QEMU ended by itself: signal: killed"},
		"after the kernel's": {[]catalogue.Finding{bug, gone}, report.Fail, "guest a: kernel said bug: BUG: bad page state"},
	} {
		t.Run(name, func(t *testing.T) {
			r := runOn(t, func(t *catalogue.T, l *fake.Lab, tell func(catalogue.Finding)) {
				for _, f := range tt.said {
					l.Say(0, f)
					tell(f)
				}
				<-t.Context().Done()
			})
			if r.Result != tt.want || r.Reason != tt.reason {
				t.Errorf("%s: %s", r.Result, r.Reason)
			}
		})
	}
}
