package boot

import (
	"strings"
	"testing"
)

func TestFindConsoles(t *testing.T) {
	for _, tt := range []struct {
		name     string
		files    map[string]string
		argument string
		want     string
	}{
		{"a PC", map[string]string{"class/tty/ttyS0/type": "4", "class/vtconsole/vtcon0/bind": "1", "class/vtconsole/vtcon0/name": "(S) VGA+"}, "", "ttyS0 tty1 tty2 tty3 tty4"},
		{"no screen", map[string]string{"class/tty/ttyS0/type": "4", "class/vtconsole/vtcon0/bind": "1", "class/vtconsole/vtcon0/name": "(S) dummy device"}, "", "ttyS0"},
		{"a screen beside the dummy", map[string]string{"class/vtconsole/vtcon0/bind": "0", "class/vtconsole/vtcon0/name": "(S) dummy device",
			"class/vtconsole/vtcon1/bind": "1", "class/vtconsole/vtcon1/name": "(M) frame buffer device"}, "", "tty1 tty2 tty3 tty4"},
		{"a port without a chip", map[string]string{"class/tty/ttyS0/type": "0"}, "", ""},
		{"nothing", nil, "", ""},
		{"serial only", map[string]string{"class/tty/ttyS0/type": "4", "class/vtconsole/vtcon0/bind": "1", "class/vtconsole/vtcon0/name": "(S) VGA+"}, "serial", "ttyS0"},
		{"off", map[string]string{"class/tty/ttyS0/type": "4"}, "off", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sys := t.TempDir()
			for name, text := range tt.files {
				writeFile(t, sys, name, text+"\n")
			}
			var got []string
			for _, c := range findConsoles(sys) {
				if wanted(c, tt.argument) {
					got = append(got, c.name)
				}
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func TestAnybody(t *testing.T) {
	proc := t.TempDir()
	writeFile(t, proc, "1/cmdline", "/init\x00")
	writeFile(t, proc, "2/cmdline", "") // a thread of the kernel
	if anybody(proc) {
		t.Error("there is only PID 1")
	}
	writeFile(t, proc, "77/cmdline", "bash\x00")
	if !anybody(proc) {
		t.Error("a shell runs")
	}
}

func TestMounted(t *testing.T) {
	if !mounted("/proc") || mounted(t.TempDir()) || mounted("/no/such/folder") {
		t.Error("/proc is mounted, a folder is not")
	}
}
