package initramfs

import (
	"errors"
	"strings"
	"testing"

	"picolab/initramfs/tree"
	"picolab/recipes"
	"picolab/recipes/lock"
)

// TestApplianceLayers: few commands are in memory at boot, all are in the root, which starts the agent, too, and what the
// recipe drops is nowhere.
func TestApplianceLayers(t *testing.T) {
	host := *guest
	host.Kind = "host"
	host.Kernel.Package = "linux-image-amd64"
	host.Boot.Modules = []string{"loop"}
	host.Drop = []string{"/tmp/inside"}
	host.Files = append(host.Files, recipes.File{Path: "/usr/bin/awk", Link: "mawk"})
	l := &Layers{Busybox: box(t, "agent", "gosh", "big"), boot: box(t, "agent")}
	err := errors.Join(l.addBase(&host, &lock.Lock{}, nil, nil), l.addPayload(&host),
		l.addRoot(&host, &lock.Lock{}, &unpacked{root: packages(t), firmware: tree.New()}, nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		of   *tree.Tree
		path string
		want bool
	}{
		{l.Payload, "bbin/agent", true}, {l.Payload, "bbin/big", false}, {l.Base, "usr/bin/awk", false}, {l.Base, "init", true},
		{l.Root, "bbin/big", true}, {l.Root, "init", true}, {l.Root, "usr/bin/awk", true}, {l.Root, "tmp/inside", false}, {l.Root, "tmp", true},
	} {
		if _, ok := tt.of.Get(tt.path); ok != tt.want {
			t.Errorf("%s is there: %v\n%s", tt.path, ok, listing(tt.of))
		}
	}
}

func TestInitIsInMemoryAtBoot(t *testing.T) {
	l := &Layers{Busybox: box(t, "agent", "gosh"), boot: box(t, "gosh")}
	if err := l.addPayload(guest); err == nil || !strings.Contains(err.Error(), `init "agent" is not one`) {
		t.Errorf("error %v", err)
	}
}
