package lock

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"picolab/recipes/debian/archivetest"
)

// TestAgainstApt lets apt read the same archive: it verifies the signatures with the same keyring, and what it would
// install into an empty system is what the lock has, apart from the kernel, which apt would install with dependencies.
func TestAgainstApt(t *testing.T) {
	apt, err := exec.LookPath("apt-get")
	if err != nil {
		t.Skip("apt-get(8) not installed")
	}
	w := newWorld(t)
	w.main.Packages[0].Fields = "Depends: lib (>= 1.0+), helper | missing, cron-daemon\nRecommends: unwanted\n"
	w.main.Packages = append(w.main.Packages,
		archivetest.Package{Name: "helper", Version: "1.0~rc1", Fields: "Depends: one (<< 2), two:any\n"},
		archivetest.Package{Name: "one", Version: "1.5"},
		archivetest.Package{Name: "two", Version: "3", Fields: "Pre-Depends: deep\nMulti-Arch: allowed\n"},
		archivetest.Package{Name: "deep", Version: "1:0.1"},
		archivetest.Package{Name: "unwanted", Version: "1"},
		archivetest.Package{Name: "cron", Version: "1", Fields: "Provides: cron-daemon\nPriority: important\n"},
		archivetest.Package{Name: "anacron", Version: "1", Fields: "Provides: cron-daemon\nPriority: optional\n"},
	)
	w.publish(t)
	want := installed(t, apt, w)
	var got []string
	for _, p := range w.resolve(t).Packages {
		if p.Role == "" {
			got = append(got, p.Name+" "+p.Version)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\napt: %q", got, want)
	}
}

// installed asks apt what it would install.
func installed(t *testing.T, apt string, w *world) (out []string) {
	t.Helper()
	dir := t.TempDir()
	for _, sub := range []string{"lists/partial", "cache/archives/partial", "etc/parts", "log"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	base := strings.TrimSuffix(w.mirror.URL, "/debian")
	var sources strings.Builder
	for _, s := range []string{"debian trixie", "debian trixie-updates", "debian-security trixie-security"} {
		fmt.Fprintf(&sources, "deb [signed-by=%s] %s/%s main\n", w.options.Keyring, base, s)
	}
	config := fmt.Sprintf(`Dir "%[1]s"; Dir::State "%[1]s"; Dir::State::status "%[1]s/status"; Dir::State::lists "%[1]s/lists"; Dir::Cache "%[1]s/cache";
Dir::Etc "%[1]s/etc"; Dir::Etc::sourcelist "%[1]s/sources.list"; Dir::Etc::sourceparts "parts"; Dir::Etc::main "main"; Dir::Etc::parts "parts"; Dir::Etc::preferencesparts "parts"; Dir::Etc::trustedparts "parts"; Dir::Log "%[1]s/log";
Dir::Bin::dpkg "/usr/bin/dpkg"; APT::Architecture "amd64"; APT::Architectures {"amd64";}; APT::Install-Recommends "false"; APT::Sandbox::User "";
Acquire::Languages "none"; Acquire::http::Proxy "DIRECT"; pkgCacheGen::ForceEssential "none"; Debug::NoLocking "true";
`, dir)
	for name, text := range map[string]string{"status": "", "sources.list": sources.String(), "apt.conf": config} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) string {
		cmd := exec.Command(apt, append([]string{"-q"}, args...)...)
		cmd.Env = append(os.Environ(), "APT_CONFIG="+filepath.Join(dir, "apt.conf"), "LC_ALL=C")
		text, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v\n%s", cmd.Args, err, text)
		}
		return string(text)
	}
	if text := run("update"); strings.Contains(text, "W:") || strings.Contains(text, "E:") {
		t.Fatalf("apt does not like the archive:\n%s", text)
	}
	for _, line := range strings.Split(run("-s", "install", "app", "tool"), "\n") {
		if f := strings.Fields(line); len(f) > 2 && f[0] == "Inst" {
			out = append(out, f[1]+" "+strings.TrimPrefix(f[2], "("))
		}
	}
	slices.Sort(out)
	return out
}
