package site

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// applyNames sets the host name and the mirror, and writes resolv.conf as far as it is known without DHCP.
func (s *Site) applyNames() error {
	errs := []error{s.writeResolver(nil, nil)}
	if h := s.network.Hostname; h != "" {
		if s.o.Root == "/" {
			errs = append(errs, unix.Sethostname([]byte(h)))
		}
		errs = append(errs, s.write("etc/hostname", 0o644, []byte(h+"\n")))
	}
	if m := s.network.Mirror; m != "" {
		errs = append(errs, os.Setenv("PICOLAB_MIRROR", m),
			s.write("etc/profile.d/picolab-site.sh", 0o644, []byte("export PICOLAB_MIRROR="+shellWord(m)+"\n")))
	}
	return errors.Join(errs...)
}

// shellWord is s as one word of a POSIX shell.
func shellWord(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// maxServers is how many name servers the C library asks (resolv.conf(5), MAXNS).
const maxServers = 3

// writeResolver writes resolv.conf: the text's own servers and domains come first. Without any the file stays as it is.
func (s *Site) writeResolver(servers, search []string) error {
	servers = unique(s.network.DNS, servers)
	search = unique(s.network.Search, search)
	if len(servers) == 0 {
		return nil
	}
	var b strings.Builder
	if len(search) > 0 {
		fmt.Fprintf(&b, "search %s\n", strings.Join(search, " "))
	}
	for _, a := range servers[:min(len(servers), maxServers)] {
		fmt.Fprintf(&b, "nameserver %s\n", a)
	}
	return s.write("etc/resolv.conf", 0o644, []byte(b.String()))
}

// unique is both lists, each word once.
func unique(a, b []string) []string {
	var out []string
	for _, w := range slices.Concat(a, b) {
		if !slices.Contains(out, w) {
			out = append(out, w)
		}
	}
	return out
}
