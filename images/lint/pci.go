package lint

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"picolab/initramfs/kmod"
	"picolab/initramfs/tree"
)

// maxDump bounds the text of lspci, in bytes.
const maxDump = 4 << 20

// Card is a PCI network controller.
type Card struct {
	Slot           string // "00:1f.6"
	Class          string // four hex digits, "0200"
	Vendor, Device string // four hex digits in upper case
}

// lspciLine is a line of `lspci -n`: slot, class, vendor and device; a revision may follow. With -v more lines do,
// which begin with a blank; with -m fields are in quotes, which is another format.
var lspciLine = regexp.MustCompile(`^((?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]) (?:Class )?([0-9a-f]{4}): ([0-9a-f]{4}):([0-9a-f]{4})\b`)

// ReadCards finds the network controllers (class 02) in the output of lspci -n.
func ReadCards(r io.Reader) ([]Card, error) {
	var cards []Card
	known := 0
	s := bufio.NewScanner(io.LimitReader(r, maxDump))
	for s.Scan() {
		m := lspciLine.FindStringSubmatch(s.Text())
		if m == nil {
			continue
		}
		known++
		if strings.HasPrefix(m[2], "02") {
			cards = append(cards, Card{m[1], m[2], strings.ToUpper(m[3]), strings.ToUpper(m[4])})
		}
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("read lspci: %w", err)
	}
	if known == 0 {
		return nil, fmt.Errorf("no line is as `lspci -n` writes it, such as: 00:1f.6 0200: 8086:15bc")
	}
	return cards, nil
}

// aliasShape splits a PCI alias (Linux, scripts/mod/file2alias.c).
var aliasShape = regexp.MustCompile(`^pci:v(\*|[0-9A-F]{8})d(\*|[0-9A-F]{8})sv(\*|[0-9A-F]{8})sd(\*|[0-9A-F]{8})bc(\*|[0-9A-F]{2})sc(\*|[0-9A-F]{2})i(\*|[0-9A-F]{2})$`)

// drives says whether an alias takes the card. What a dump does not tell, subsystem and interface, is taken to fit.
func (c Card) drives(alias string) bool {
	m := aliasShape.FindStringSubmatch(alias)
	if m == nil {
		return false
	}
	fits := func(pattern, value string) bool { return pattern == "*" || pattern == strings.ToUpper(value) }
	// An alias that names neither vendor nor device is for a class: PCI drivers of whole classes are no network drivers.
	return fits(m[1], "0000"+c.Vendor) && fits(m[2], "0000"+c.Device) && fits(m[5], c.Class[:2]) && fits(m[6], c.Class[2:]) && m[1] != "*"
}

// cards looks for the drivers of the machine's network cards.
func (l *linter) cards(ctx context.Context) error {
	if l.kernel == nil || len(l.Cards) == 0 {
		return nil
	}
	drivers, err := netDrivers(ctx, l.kernel.Tree)
	if err != nil {
		return err
	}
	var have []string
	for _, m := range l.modules {
		have = append(have, m.Name)
	}
	for _, c := range l.Cards {
		l.card(c, drivers, have)
	}
	return nil
}

func (l *linter) card(c Card, drivers []kmod.Module, have []string) {
	var names []string
	for _, d := range drivers {
		if !slices.ContainsFunc(d.Aliases, c.drives) {
			continue
		}
		if d.Path == "" || slices.Contains(have, d.Name) { // built in, or in the image
			return
		}
		names = append(names, d.Name)
	}
	if len(names) == 0 {
		l.add(Warning, "nic", "kernel", "network card %s:%s (%s): kernel %s has no driver for it; a newer kernel or an out-of-tree module (kernel.extra) may",
			strings.ToLower(c.Vendor), strings.ToLower(c.Device), c.Slot, l.kernel.Release)
		return
	}
	l.add(Error, "nic", "kernel.modules", "network card %s:%s (%s) has no driver in the image; add to kernel.modules: %s",
		strings.ToLower(c.Vendor), strings.ToLower(c.Device), c.Slot, strings.Join(names, " or "))
}

// netDrivers reads what the kernel's network modules say of themselves, by name. Built-in ones have no path.
func netDrivers(ctx context.Context, t *tree.Tree) ([]kmod.Module, error) {
	if t == nil {
		return nil, nil
	}
	var mu sync.Mutex
	out := builtin(t)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for p, e := range t.All() {
		name, ok := moduleName(p)
		if !ok || !e.IsRegular() || !strings.Contains(p, "/drivers/net/") && !strings.Contains(p, "/updates/") {
			continue
		}
		g.Go(func() error {
			m, err := kmod.Describe(e.Blob, p)
			if err != nil {
				return err
			}
			m.Name, m.Path = name, p
			mu.Lock()
			defer mu.Unlock()
			out = append(out, m)
			return ctx.Err()
		})
	}
	err := g.Wait()
	slices.SortFunc(out, func(a, b kmod.Module) int { return strings.Compare(a.Name, b.Name) })
	return out, err
}

// builtin reads the aliases of what is part of the kernel image, modules.builtin.modinfo.
func builtin(t *tree.Tree) []kmod.Module {
	byName := map[string]*kmod.Module{}
	for p, e := range t.All() {
		if !strings.HasSuffix(p, "/modules.builtin.modinfo") || !e.IsRegular() {
			continue
		}
		data, err := tree.ReadAll(e.Blob)
		if err != nil {
			continue // the closure has read it too, and said so
		}
		for record := range strings.SplitSeq(string(data), "\x00") {
			name, alias, ok := strings.Cut(record, ".alias=")
			if !ok {
				continue
			}
			if byName[name] == nil {
				byName[name] = &kmod.Module{Name: name}
			}
			byName[name].Aliases = append(byName[name].Aliases, alias)
		}
	}
	var out []kmod.Module
	for _, m := range byName {
		out = append(out, *m)
	}
	return out
}
