package verbs

import (
	"testing"
	"unicode/utf8"
)

func TestParseRecord(t *testing.T) {
	l, ok := parseRecord([]byte("6,339,5140900,-;NET: Registered \\x22protocol\\x22 family 10\n SUBSYSTEM=net\n"))
	if !ok || l.Priority != 6 || l.Sequence != 339 || l.TimestampUs != 5140900 || l.Text != `NET: Registered "protocol" family 10` {
		t.Errorf("%v %v", l, ok)
	}
	for _, s := range []string{"", ";", "1,2;x", "a,b,c;x", "6,1,2,-"} {
		if _, ok := parseRecord([]byte(s)); ok {
			t.Errorf("%q is a record", s)
		}
	}
}

// FuzzParseRecord takes arbitrary kernel log records; what comes out must fit a protobuf string.
func FuzzParseRecord(f *testing.F) {
	f.Add([]byte("6,339,5140900,-;text \\xff\\x0\n"))
	f.Add([]byte("6,339,5140900;\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if l, ok := parseRecord(b); ok && !utf8.ValidString(l.Text) {
			t.Errorf("%q", l.Text)
		}
	})
}
