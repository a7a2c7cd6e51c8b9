package runs

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"

	"picolab/hostctl/internal/qemu"
	"picolab/hostctl/report"
	"picolab/images/manifest"
)

// versions names what the results depend on.
func versions(ctx context.Context, guest *manifest.Manifest) map[string]string {
	v := map[string]string{"picolab": self(), "go": runtime.Version(), "host kernel": kernel(), "guest kernel": guest.KernelRelease,
		"guest image": guest.Version}
	v["qemu"] = "unknown"
	if text, err := qemu.AskVersionText(ctx); err == nil {
		v["qemu"] = text
	}
	return v
}

// self is the version of this program as its build knows it.
func self() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return info.Main.Version
}

// applianceFile is where an appliance says which image it was started from.
const applianceFile = "/run/picolab/image"

// applianceImage is the id of that image, with "+dirty." and a digest when its stick has a site folder; "" elsewhere.
func applianceImage(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// dirt is what the site folder adds to the ids of the images that run in its appliance: results that differ from others
// because of a file on a stick must not look the same.
func dirt(appliance string) string {
	if _, added, dirty := strings.Cut(appliance, "+"); dirty {
		return "+" + added
	}
	return ""
}

// kernel is uname -r.
func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}

// machine tells what changes speed without changing behaviour: the frequency
// governor and the mitigations of processor defects.
func machine() []report.Fact {
	facts := []report.Fact{fileFact("cpu.governor", "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")}
	const defects = "/sys/devices/system/cpu/vulnerabilities"
	entries, _ := os.ReadDir(defects)
	var words []string
	for _, e := range entries {
		if b, err := os.ReadFile(filepath.Join(defects, e.Name())); err == nil {
			words = append(words, e.Name()+": "+strings.TrimSpace(string(b)))
		}
	}
	return append(facts, report.Fact{Name: "cpu.mitigations", OK: len(words) > 0, Evidence: strings.Join(words, "; ")})
}

func fileFact(name, path string) report.Fact {
	b, err := os.ReadFile(path)
	if err != nil {
		return report.Fact{Name: name, Evidence: err.Error()}
	}
	return report.Fact{Name: name, OK: true, Evidence: strings.TrimSpace(string(b))}
}
