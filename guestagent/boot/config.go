package boot

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Files of a guest, relative to its root.
const (
	bootFile    = "etc/picolab/boot.json" // appended by the lab; deleted once read
	modulesFile = "etc/picolab/modules"   // names to load at boot, one per line
	cmdlineFile = "proc/cmdline"
)

// config is what a guest is told about itself.
type config struct {
	Token     string `json:"token"`
	Image     string `json:"image"`
	Hostname  string `json:"hostname"`
	AgentPort uint32 `json:"agent_port"`
	Swap      string `json:"swap"` // block device to resume from or to swap to

	Modules []string          `json:"-"`
	Cmdline map[string]string `json:"-"` // picolab.* parameters, without the prefix
}

// readConfig reads what is there; the token's file is removed so that no program of the guest can read it later.
func readConfig(root string) (config, error) {
	var c config
	name := filepath.Join(root, bootFile)
	b, err := os.ReadFile(name)
	if err == nil {
		err = errors.Join(json.Unmarshal(b, &c), os.Remove(name))
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", bootFile, err)
	}
	c.Modules = moduleNames(readOptional(filepath.Join(root, modulesFile)))
	c.Cmdline = parameters(readOptional(filepath.Join(root, cmdlineFile)))
	if h := c.Cmdline["hostname"]; h != "" {
		c.Hostname = h
	}
	return c, err
}

// readOptional is a file's text, "" when it cannot be read: every use has a meaning without it.
func readOptional(name string) string {
	b, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		logf("%v", err)
	}
	return string(b)
}

func moduleNames(text string) []string {
	var names []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			names = append(names, line)
		}
	}
	return names
}

// parameters picks picolab.KEY[=VALUE] out of a kernel command line; without a value it is "1".
func parameters(cmdline string) map[string]string {
	m := make(map[string]string)
	for _, f := range strings.Fields(cmdline) {
		if f, ok := strings.CutPrefix(f, "picolab."); ok {
			key, value, set := strings.Cut(f, "=")
			if !set {
				value = "1"
			}
			m[key] = value
		}
	}
	return m
}

func setHostname(name string) error {
	if name == "" {
		return nil
	}
	return unix.Sethostname([]byte(name))
}
