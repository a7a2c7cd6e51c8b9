package probe

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"picolab/hostctl/internal/qemu"
)

// AskKVM says whether a guest really runs under KVM. Finding out takes up to five seconds where it does not, so the answer
// is kept in the cache folder for as long as kernel, boot and QEMU stay the same; "" keeps nothing.
func AskKVM(ctx context.Context, cache string) (ok bool, evidence string) {
	dev, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return false, err.Error() // never kept: who may open it is changed easily
	}
	dev.Close()
	path := ""
	if key, err := kvmKey(); err == nil && cache != "" {
		path = filepath.Join(cache, "kvm-"+key+".json")
	}
	if a, err := readAnswer(path); err == nil {
		return a.OK, a.Evidence + " (remembered)"
	}
	limit := qemu.KVMDeadline
	if level, _ := NestingLevel(); level > 0 {
		limit *= 10
	}
	ok, evidence = qemu.ProbeKVM(ctx, limit)
	if ctx.Err() == nil && path != "" {
		writeAnswer(path, answer{ok, evidence}) // only a cache: the next call asks again
	}
	return ok, evidence
}

func askKVM(ctx context.Context, o Options) (bool, string) { return AskKVM(ctx, o.Cache) }

// answer is the cache file's content.
type answer struct {
	OK       bool   `json:"ok"`
	Evidence string `json:"evidence"`
}

// kvmKey names what the answer depends on.
func kvmKey() (string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", err
	}
	binary, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		return "", err
	}
	info, err := os.Stat(binary)
	if err != nil {
		return "", err
	}
	h := sha256.Sum256(fmt.Appendf(nil, "%s %s %s %d %d", cstring(u.Release[:]), cstring(u.Version[:]), strings.TrimSpace(string(boot)), info.Size(), info.ModTime().UnixNano()))
	return hex.EncodeToString(h[:8]), nil
}

func cstring(b []byte) string {
	text, _, _ := strings.Cut(string(b), "\x00")
	return text
}

func readAnswer(path string) (answer, error) {
	var a answer
	data, err := os.ReadFile(path)
	if err != nil {
		return a, err
	}
	return a, json.Unmarshal(data, &a)
}

func writeAnswer(path string, a answer) error {
	data, err := json.Marshal(a)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "kvm-*.new")
	if err != nil {
		return err
	}
	_, err = f.Write(append(data, '\n'))
	f.Close()
	if err != nil {
		os.Remove(f.Name())
		return err
	}
	return os.Rename(f.Name(), path)
}
