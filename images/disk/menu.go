package disk

import (
	"fmt"
	"path/filepath"
	"strings"

	"picolab/images/manifest"
)

// menuSeconds is how long GRUB waits for a choice.
const menuSeconds = 3

// menu is grub.cfg: one entry for each choice of the image. Console and serial line show the same.
func menu(m *manifest.Manifest) []byte {
	choices := m.Menu
	if len(choices) == 0 {
		choices = []manifest.Choice{{Title: "picolab " + m.Name}}
	}
	timeout := 0
	if len(choices) > 1 {
		timeout = menuSeconds
	}
	var b strings.Builder
	b.WriteString(search(m))
	fmt.Fprint(&b, "if serial --unit=0 --speed=115200; then\n\tterminal_input console serial\n\tterminal_output console serial\nfi\n")
	fmt.Fprintf(&b, "set default=0\nset timeout=%d\n", timeout)
	b.WriteString(bits)
	for _, c := range choices {
		entry(&b, m, c)
	}
	return []byte(b.String())
}

// bits has BIOSes start the kernel by its real mode entry (Documentation/arch/x86/boot.rst in Linux). Its 32-bit loader always moves
// the kernel and all the room that it will ever need, 59 MB, byte by byte: nothing on a PC, three seconds on an emulated one.
const bits = "if [ \"$grub_platform\" = pc ]; then\n\tset bits=16\nfi\n"

// stickArgument is the kernel argument that names the volume with an appliance's root file system.
const stickArgument = "picolab.stick="

func entry(b *strings.Builder, m *manifest.Manifest, c manifest.Choice) {
	fmt.Fprintf(b, "\nmenuentry %s {\n\tlinux$bits %s", quote(c.Title), onDisk(filepath.Base(m.Kernel())))
	for _, list := range [][]string{m.CommandLine, c.CommandLine} {
		for _, arg := range list {
			b.WriteString(" " + quote(arg))
		}
	}
	if m.RootFile() != "" {
		b.WriteString(" " + stickArgument + shortID(m))
	}
	b.WriteString("\n\tinitrd$bits")
	for _, s := range m.Segments() {
		b.WriteString(" " + onDisk(filepath.Base(s)))
	}
	b.WriteString("\n}\n")
}

// earlyConfig is what GRUB's core for BIOSes does before it reads the menu.
func earlyConfig(m *manifest.Manifest) string {
	return search(m) + "set prefix=($root)/EFI/debian\n"
}

// search finds the disk GRUB came from among others. Asking floppy drives that are not there takes a minute.
func search(m *manifest.Manifest) string {
	return fmt.Sprintf("search --no-floppy --file --set=root %s\n", idFile(m))
}

// quote makes s one word of GRUB's script, which quotes like a shell.
func quote(s string) string {
	plain := func(c rune) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-_./,:=+@%", c)
	}
	if s != "" && !strings.ContainsFunc(s, func(c rune) bool { return !plain(c) }) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
