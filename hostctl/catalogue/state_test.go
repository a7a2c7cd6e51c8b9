package catalogue

import "testing"

// TestDiff shows what counts as a change that an instance has left.
func TestDiff(t *testing.T) {
	was := snapshot{links: map[string]string{"a eth0": "mtu 1500"}, up: map[string]bool{"a eth0": true}}
	for _, tt := range []struct {
		name string
		now  snapshot
		want string
	}{
		{"nothing", was, ""},
		{"another MTU", snapshot{links: map[string]string{"a eth0": "mtu 1280"}}, "a eth0 was mtu 1500, is mtu 1280"},
		{"a carrier that is not used yet", snapshot{links: was.links}, "a eth0 passes no packets yet"},
		{"one link less", snapshot{}, "a eth0 is gone"},
		{"one more", snapshot{links: map[string]string{"a eth0": "mtu 1500", "a eth1": ""}, up: was.up}, "a eth1 is new"},
	} {
		if got := was.diff(tt.now); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	later := snapshot{links: was.links}
	if got := later.diff(was); got != "" {
		t.Errorf("a link that comes up after the look: %q", got)
	}
}
