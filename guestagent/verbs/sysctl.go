package verbs

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"picolab/guestagent/wire"
)

// Sysctl implements wire.AgentService.
func (v *Verbs) Sysctl(_ context.Context, req *wire.SysctlRequest) (*wire.SysctlReply, error) {
	path, err := sysctlPath(req.Key)
	if err != nil {
		return nil, err
	}
	if req.Value != nil {
		if err := writeExisting(path, *req.Value); err != nil {
			return nil, err
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return &wire.SysctlReply{Value: strings.TrimSpace(string(b))}, nil
}

// sysctlPath takes net.ipv4.conf.all.rp_filter as well as net/ipv4/conf/eth0.10/rp_filter: with a slash in it dots are
// part of names (sysctl(8)).
func sysctlPath(key string) (string, error) {
	if !strings.Contains(key, "/") {
		key = strings.ReplaceAll(key, ".", "/")
	}
	if !filepath.IsLocal(key) {
		return "", wire.Errorf(wire.Code_INVALID, "sysctl %q: not a key", key)
	}
	return filepath.Join("/proc/sys", key), nil
}

// writeExisting writes in one write(2), and makes no file.
func writeExisting(path, value string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(value)
	return err
}
