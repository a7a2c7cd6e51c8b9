package recipes

import (
	"path/filepath"
	"testing"
)

// TestEncode writes every embedded recipe and one with all fields as a single text that means the same.
func TestEncode(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "all.yaml"), `name: all
extends: host
description: "odd: 'text' # no comment"
suites: [{name: trixie-backports, components: [main, contrib], only: ["linux-*"], mirror: "http://mirror.example/debian"}]
kernel:
  extra: [{path: one.ko, sha256: '0123456789012345678901234567890123456789012345678901234567890123'}]
  load: ["1234"]
files:
  - {path: /multi, content: "two\n  lines\n\n"}
  - {path: /tab, content: "a\tb: c\n# d", mode: "0600"}
  - {path: /link, link: multi}
  - {path: /local, source: local.bin}
  - {path: /yes, content: "yes"}
`)
	for _, name := range append(Names(), filepath.Join(dir, "all.yaml")) {
		r, err := Open(name)
		if err != nil {
			t.Fatal(err)
		}
		data, err := r.Encode()
		if err != nil {
			t.Fatalf("%v\n%s", err, data)
		}
		again, err := Open(write(t, filepath.Join(t.TempDir(), "flat.yaml"), string(data)))
		if err != nil || again.Extends != "" || again.ResolutionDigest() != r.ResolutionDigest() || !same(again, withoutExtends(r)) {
			t.Errorf("%s: %v\n%s", name, err, data)
		}
	}
}

func withoutExtends(r *Recipe) *Recipe {
	c := *r
	c.Extends = ""
	return &c
}
