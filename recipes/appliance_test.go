package recipes

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const applianceText = `
name: box
kind: host
architecture: amd64
suites: [{name: trixie, components: [main]}]
kernel: {package: linux-image-amd64}
init: agent
commands: [example.org/agent, example.org/ls, example.org/big]
boot: {modules: [loop], commands: [example.org/ls]}
drop: [/usr/bin/qemu-*, /usr/lib/python3]
`

func TestAppliance(t *testing.T) {
	r, err := Parse("box.yaml", []byte(applianceText))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Validate(); err != nil {
		t.Fatal(err)
	}
	if !r.Appliance() || !slices.Equal(r.BootCommands(), []string{"example.org/ls", "example.org/agent"}) {
		t.Errorf("%v, commands at boot %v", r.Appliance(), r.BootCommands())
	}
	for name, want := range map[string]bool{
		"usr/bin/qemu-img": true, "usr/bin/bash": false, "usr/lib/python3": true, "usr/lib/python3/dist-packages/x": true,
		"usr/lib/python3.13": false, "usr/lib": false, "usr": false, "usr/bin/qemu-x/deep": true,
	} {
		if r.Drops(name) != want {
			t.Errorf("%s dropped: %v", name, !want)
		}
	}
	r.Boot.Modules = nil
	if r.Appliance() || len(r.BootCommands()) != 3 {
		t.Error("without modules at boot it is no appliance")
	}
}

func TestApplianceFaults(t *testing.T) {
	for want, edit := range map[string][2]string{
		"boot is for hosts":            {"kind: host", "kind: guest"},
		"boot without a kernel":        {"kernel: {package: linux-image-amd64}", ""},
		"boot.commands without":        {"modules: [loop], ", ""},
		"needs init":                   {"init: agent", ""},
		"is not one of commands":       {"commands: [example.org/ls]}", "commands: [example.org/other]}"},
		"is listed twice":              {"commands: [example.org/ls]}", "commands: [example.org/ls, example.org/ls]}"},
		"use an absolute path":         {"/usr/lib/python3", "usr/lib/python3"},
		`drop "/usr/[": use`:           {"/usr/lib/python3", "'/usr/['"},
		"module \"../x\": not a valid": {"[loop]", "[../x]"},
	} {
		r, err := Parse("box.yaml", []byte(strings.Replace(applianceText, edit[0], edit[1], 1)))
		if err == nil {
			err = r.Validate()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	r, err := Parse("g.yaml", []byte("name: g\nkind: guest\narchitecture: amd64\nsuites: [{name: trixie, components: [main]}]\nkernel: {package: linux-image-amd64}\ninit: a\ncommands: [example.org/a]\nimages: [guest]\n"))
	if err == nil {
		err = r.Validate()
	}
	if err == nil || !strings.Contains(err.Error(), "only a host carries images") {
		t.Errorf("a guest with images: %v", err)
	}
}

// TestHostHasEveryCommand: what cmd has is what a person finds in the appliance.
func TestHostHasEveryCommand(t *testing.T) {
	r, err := Open("host")
	if err != nil {
		t.Fatal(err)
	}
	dirs, err := filepath.Glob("../cmd/*/main.go")
	if err != nil || len(dirs) < 5 {
		t.Fatalf("%d commands, %v", len(dirs), err)
	}
	for _, main := range dirs {
		name := filepath.Base(filepath.Dir(main))
		if !slices.Contains(r.Commands, "picolab/cmd/"+name) {
			t.Errorf("the host lacks %s", name)
		}
	}
}
