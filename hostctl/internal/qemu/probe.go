package qemu

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"picolab/hostctl/internal/proc"
)

// probeDeadline bounds one question to a binary; a cold start reads 50 MB from disk.
const probeDeadline = 20 * time.Second

// Capabilities are what a binary can do.
type Capabilities struct {
	Version     Version
	VersionText string   // first line of -version
	Devices     []string // names of -device, sorted
	Netdevs     []string // types of -netdev, sorted
}

// HasDevice says whether -device knows the name.
func (c Capabilities) HasDevice(name string) bool { return has(c.Devices, name) }

// HasNetdev says whether -netdev knows the type.
func (c Capabilities) HasNetdev(name string) bool { return has(c.Netdevs, name) }

func has(sorted []string, name string) bool {
	_, ok := slices.BinarySearch(sorted, name)
	return ok
}

// Probe asks a binary (an argument prefix; none: DefaultBinary of PATH) for its version, devices and back-ends.
func Probe(ctx context.Context, binary ...string) (Capabilities, error) {
	var c Capabilities
	for _, q := range []struct {
		args []string
		take func(string)
	}{
		{[]string{"-version"}, c.takeVersion},
		{[]string{"-device", "help"}, func(s string) { c.Devices = parseDevices(s) }},
		{[]string{"-netdev", "help"}, func(s string) { c.Netdevs = parseNetdevs(s) }},
	} {
		out, err := ask(ctx, binary, q.args...)
		if err != nil {
			return Capabilities{}, fmt.Errorf("probe qemu: %w", err)
		}
		q.take(out)
	}
	if (c.Version == Version{}) {
		return Capabilities{}, fmt.Errorf("probe qemu: no version in %q", c.VersionText)
	}
	return c, nil
}

// AskVersion is the part of Probe that a command line depends on.
func AskVersion(ctx context.Context, binary ...string) (Version, error) {
	line, err := AskVersionText(ctx, binary...)
	if err != nil {
		return Version{}, err
	}
	return ParseVersion(line)
}

// AskVersionText is the part of Probe for people: one start of QEMU instead of three, which take seconds in an emulated machine.
func AskVersionText(ctx context.Context, binary ...string) (string, error) {
	out, err := ask(ctx, binary, "-version")
	if err != nil {
		return "", fmt.Errorf("ask for QEMU's version: %w", err)
	}
	line, _, _ := strings.Cut(strings.TrimSpace(out), "\n")
	return line, nil
}

func ask(ctx context.Context, binary []string, args ...string) (string, error) {
	argv := append(prefix(binary), args...)
	var out bytes.Buffer
	err := proc.Run(ctx, proc.Cmd{Path: argv[0], Args: argv[1:], Stdout: &out, Deadline: probeDeadline})
	return out.String(), err
}

func prefix(binary []string) []string {
	if len(binary) == 0 {
		return []string{DefaultBinary}
	}
	return slices.Clone(binary)
}

func (c *Capabilities) takeVersion(out string) {
	c.VersionText, _, _ = strings.Cut(strings.TrimSpace(out), "\n")
	v, _ := ParseVersion(c.VersionText)
	c.Version = v
}

// ParseVersion reads the first line of -version, "QEMU emulator version 10.0.2 (Debian ...)".
func ParseVersion(line string) (Version, error) {
	var v Version
	if _, err := fmt.Sscanf(line, "QEMU emulator version %d.%d.%d", &v.Major, &v.Minor, &v.Micro); err != nil {
		return Version{}, fmt.Errorf("parse qemu version %q: %w", line, err)
	}
	return v, nil
}

// parseDevices takes the names of lines such as: name "e1000", bus PCI, alias "e1000-82540em", desc "...".
func parseDevices(out string) []string {
	var names []string
	for sc := bufio.NewScanner(strings.NewReader(out)); sc.Scan(); {
		fields := strings.Split(sc.Text(), `"`)
		if len(fields) > 1 && fields[0] == "name " {
			names = append(names, fields[1])
		}
		if i := slices.Index(fields, ", alias "); i > 0 && i+1 < len(fields) {
			names = append(names, fields[i+1])
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// parseNetdevs takes the lines after the heading, which ends with a colon.
func parseNetdevs(out string) []string {
	var names []string
	for sc := bufio.NewScanner(strings.NewReader(out)); sc.Scan(); {
		line := strings.TrimSpace(sc.Text())
		if line != "" && !strings.HasSuffix(line, ":") {
			names = append(names, line)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
