package flash

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// inUse is what the kernel's tables say about devices.
type inUse struct {
	mounts map[string][]string // mount points by device number and by name of the node
	swap   map[string][]string // swap files' paths by name of the node
}

// inUse reads the mounts of this mount namespace and the swap space. Others' mounts show when the device is opened.
func (m Machine) inUse() (*inUse, error) {
	in := &inUse{make(map[string][]string), make(map[string][]string)}
	mounts, err := os.ReadFile(m.proc("self/mountinfo"))
	if err != nil {
		return nil, fmt.Errorf("read mounts: %w", err)
	}
	for line := range strings.Lines(string(mounts)) {
		if err := in.mount(line); err != nil {
			return nil, err
		}
	}
	swaps, err := os.ReadFile(m.proc("swaps"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // a kernel without swap has no such file
		return nil, fmt.Errorf("read swap space: %w", err)
	}
	for line := range strings.Lines(string(swaps)) {
		if path, _, _ := strings.Cut(line, " "); strings.HasPrefix(path, "/dev/") {
			name := filepath.Base(resolve(path))
			in.swap[name] = append(in.swap[name], path)
		}
	}
	return in, nil
}

// mount takes in a line of proc_pid_mountinfo(5). There is any number of optional fields before the "-".
func (in *inUse) mount(line string) error {
	before, after, ok := strings.Cut(line, " - ")
	f, g := strings.Fields(before), strings.Fields(after)
	if !ok || len(f) < 6 || len(g) < 2 {
		return fmt.Errorf("read mounts: strange line %q", line)
	}
	point := unescape(f[4])
	in.mounts[f[2]] = append(in.mounts[f[2]], point)
	// Btrfs and others have numbers of their own: the source says what they are on.
	if source := unescape(g[1]); strings.HasPrefix(source, "/dev/") {
		name := filepath.Base(resolve(source))
		in.mounts[name] = append(in.mounts[name], point)
	}
	return nil
}

// resolve follows links such as /dev/disk/by-uuid/..., when they lead anywhere.
func resolve(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}

// unescape undoes what the kernel does to blanks.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
