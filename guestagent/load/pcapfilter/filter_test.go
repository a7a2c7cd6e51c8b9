package pcapfilter

import (
	"bufio"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/bpf"
)

// expressions are judged by tcpdump.
var expressions = []string{
	"ip", "ip6", "arp", "rarp", "tcp", "udp", "sctp", "icmp", "icmp6", "igmp", "esp", "ah", "pim", "vrrp",
	"host 10.0.0.1", "src host 10.0.0.1", "dst host 10.0.0.1", "src or dst host 10.0.0.2", "src and dst host 10.0.0.1",
	"ip host 10.0.0.1", "arp host 10.0.0.2", "rarp src host 10.0.0.2", "src 10.0.0.1", "dst 10.0.0.2", "host 10.0.0.2 and 10.0.0.1",
	"host 2001:db8::1", "src host fe80::2", "ip6 dst host ff02::1",
	"net 10.0.0.0/8", "net 10", "net 192.168.1", "src net 192.168.0.0/16", "dst net 10.0.0.0 mask 255.255.255.0", "ip net 10.0.0.0/30",
	"net 2001:db8::/32", "dst net fe80::/10", "net ff02::/127", "src net 10.0.0.1/32", "net 0.0.0.0/0",
	"port 80", "src port 53", "dst port 80", "tcp port 80", "udp dst port 53", "tcp src port 1234", "src and dst port 53",
	"portrange 50-90", "udp portrange 2000-3000", "src portrange 80-80", "tcp portrange 90-70", "sctp port 80",
	"ether host 02:00:00:00:00:09", "ether src 02:00:00:00:00:09", "ether dst 33:33:00:00:00:01", "ether host ff:ff:ff:ff:ff:ff",
	"ether broadcast", "ether multicast", "broadcast", "multicast", "ip multicast", "ip6 multicast",
	"ether proto 0x88cc", `ether proto \arp`, "ip proto 17", `ip proto \tcp`, "ip6 proto 58", "proto 6", "ip6 proto 6", `proto \udp`,
	"less 100", "greater 100", "len > 60", "len <= 60", "len = 74", "len != 74", "len < 1000", "len >= 1000",
	"vlan", "vlan 10", "vlan 7", "vlan 10 and arp", "vlan and tcp", "vlan 10 and host 10.0.0.1", "vlan and tcp port 80", "vlan and udp port 53",
	"vlan 7 and vlan 10", "vlan and vlan and tcp dst port 80", "vlan and vlan 10 and icmp6", "vlan and ether src 02:00:00:00:00:09",
	"vlan and tcp[13] & 2 != 0", "not vlan", "arp or vlan 10", "vlan 3000 and ip6",
	"tcp and port 80", "tcp or udp", "not tcp", "! tcp && ! udp", "not (tcp or udp)", "tcp or udp and port 53", "(tcp or udp) and not port 53",
	"not arp and not tcp or udp", "port 80 or 443", "tcp port (80 or 443)", "host 10.0.0.1 or 192.168.1.77", "src host (10.0.0.2 or 192.168.1.77)",
	"host 10.0.0.1 and not port 80 and not port 53", "port 53 and not 80", "ip and (tcp port 80 or 443 or udp port 53)",
	"icmp[0] == 8", "icmp[icmptype] = icmp-echoreply", "tcp[tcpflags] & tcp-syn != 0", "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0",
	"tcp[tcpflags] == tcp-syn|tcp-ack", "ip[0] & 0xf != 5", "ip[6:2] & 0x1fff != 0", "ether[0] & 1 != 0", "ip[2:2] > 100", "udp[4:2] >= 100",
	"ip6[6] == 58", "icmp6[0] == 135", "icmp6[icmp6type] = icmp6-neighborsolicit", "arp[6:2] = 1", "ip[12:4] = 0x0a000001", "udp[0:2] < 1000", "tcp[2:2] <= 80", "ether[12:2] = 0x0800",
	"", "tcp and tcp and tcp and tcp", "not not udp",
}

// theirs is the program that tcpdump makes.
func theirs(t *testing.T, expression string) []bpf.Instruction {
	t.Helper()
	out, err := exec.Command("tcpdump", "-y", "EN10MB", "-s", "262144", "-ddd", expression).Output()
	if err != nil {
		t.Fatalf("tcpdump %q: %v", expression, err)
	}
	var raw []bpf.RawInstruction
	s := bufio.NewScanner(strings.NewReader(string(out)))
	s.Scan() // the count
	for s.Scan() {
		var i bpf.RawInstruction
		if _, err := fmt.Sscan(s.Text(), &i.Op, &i.Jt, &i.Jf, &i.K); err != nil {
			t.Fatalf("tcpdump %q: %q: %v", expression, s.Text(), err)
		}
		raw = append(raw, i)
	}
	program, _ := bpf.Disassemble(raw)
	return program
}

// TestMeansWhatTcpdumpMeans runs both programs on every frame.
func TestMeansWhatTcpdumpMeans(t *testing.T) {
	if _, err := exec.LookPath("tcpdump"); err != nil {
		t.Skip("tcpdump(1) not installed (4.99 or later)")
	}
	frames := corpus()
	for _, expression := range expressions {
		f, err := Parse(expression)
		if err != nil {
			t.Error(err)
			continue
		}
		program, err := f.Offline()
		if err != nil {
			t.Error(err)
			continue
		}
		ours, judge, hits := machine(t, program), machine(t, theirs(t, expression)), 0
		for name, frame := range frames {
			got, want := takes(t, ours, frame), takes(t, judge, frame)
			if got != want {
				t.Errorf("%q takes %s: %v, tcpdump's %v", expression, name, got, want)
			}
			if want {
				hits++
			}
		}
		if hits == 0 && !slices.Contains(strings.Fields("ah pim vrrp"), expression) {
			t.Errorf("%q takes no frame: a weak case", expression)
		}
	}
}

func machine(t testing.TB, program []bpf.Instruction) *bpf.VM {
	t.Helper()
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatalf("%v\n%v", err, program)
	}
	return vm
}

func takes(t testing.TB, vm *bpf.VM, frame []byte) bool {
	t.Helper()
	n, err := vm.Run(frame)
	if err != nil {
		t.Fatal(err)
	}
	return n > 0
}

// TestLiveWithoutTags: programs for sockets differ from those for files only about tags.
func TestLiveWithoutTags(t *testing.T) {
	for _, expression := range expressions {
		if strings.Contains(expression, "vlan") {
			continue
		}
		f, err := Parse(expression)
		if err != nil {
			t.Fatal(err)
		}
		offline, err1 := f.Offline()
		live, err2 := f.Live(Whole)
		if fmt.Sprint(offline) != fmt.Sprint(live) || errors.Join(err1, err2) != nil {
			t.Errorf("%q: %v\n%v\n%v", expression, errors.Join(err1, err2), offline, live)
		}
	}
}

// TestLiveTagsInTheFrame runs the part of a live program that looks into the frame: the machine knows of no tag beside it.
func TestLiveTagsInTheFrame(t *testing.T) {
	frames := corpus()
	for expression, want := range map[string]string{
		"vlan 10 and arp":              "arp in vlan 10",
		"vlan 10 and tcp port 80":      "tcp syn in vlan 10,tcp options in vlan 10",
		"vlan 10 and udp dst port 53":  "udp in vlan 10",
		"vlan 7 and vlan 10 and icmp6": "icmp6 in vlan 10 in 7",
		"vlan 3000 and icmp6[0] = 135": "icmp6 in vlan 3000",
		"vlan 9 or rarp":               "rarp", // a failed vlan moves nothing
	} {
		f, err := Parse(expression)
		if err != nil {
			t.Fatal(err)
		}
		program, err := f.Live(Whole)
		if err != nil {
			t.Fatal(err)
		}
		for i, in := range program { // no extension is in the machine
			if l, ok := in.(bpf.LoadExtension); ok && l.Num == bpf.ExtVLANTagPresent {
				program[i] = bpf.LoadConstant{Dst: bpf.RegA}
			} else if ok && l.Num == bpf.ExtVLANTag {
				program[i] = bpf.LoadConstant{Dst: bpf.RegA, Val: 99999}
			}
		}
		vm := machine(t, program)
		for name, frame := range frames {
			if got := takes(t, vm, frame); got != slices.Contains(strings.Split(want, ","), name) {
				t.Errorf("%q takes %s: %v", expression, name, got)
			}
		}
	}
}

func TestFarJumps(t *testing.T) {
	var parts []string
	for i := range 300 {
		parts = append(parts, fmt.Sprintf("port %d", 10000+i))
	}
	f, err := Parse(strings.Join(parts[:60], " or ") + " or udp port 53")
	if err != nil {
		t.Fatal(err)
	}
	program, err := f.Offline()
	if err != nil {
		t.Fatal(err)
	}
	vm, frames := machine(t, program), corpus()
	if !takes(t, vm, frames["udp"]) || takes(t, vm, frames["tcp syn"]) || takes(t, vm, frames["arp"]) {
		t.Errorf("a program of %d instructions goes astray", len(program))
	}
	if f, err = Parse(strings.Join(parts, " or ")); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Offline(); !errors.Is(err, ErrSyntax) {
		t.Errorf("a program that the kernel would not take: %v", err)
	}
}

func TestSyntaxErrors(t *testing.T) {
	for _, expression := range []string{
		"nonsense", "port", "host x", "arp and", "arp icmp", "ether host 1", "not", "(tcp", "tcp)", "port 70000", "port http", "vlan 4096",
		"net 10.0.0.1/8", "net 10.0.0.0/33", "net 10.0.0.0 mask 255.0.255.0", "net x", "ether proto 5", "ip proto 256", "arp port 5", "icmp port 1",
		"tcp[0", "tcp[0] & 0 = 1", "tcp[0:3] = 1", "tcp[0] 5", "tcp[x] = 1", "esp[0] = 1", "len", "len >", "less", "less x", "host 10.0.0.1%eth0",
		"ip host ::1", "tcp host 10.0.0.1", "$", "port 1-2", "and tcp", "host (", "ether proto", "arp proto 1", strings.Repeat("(", 9000),
	} {
		if _, err := Parse(expression); !errors.Is(err, ErrSyntax) {
			t.Errorf("%q: %v", expression, err)
		}
	}
	f, err := Parse("inbound")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Offline(); !errors.Is(err, ErrSyntax) {
		t.Errorf("inbound in a file: %v", err)
	}
	if raw, err := f.Assemble(Whole); err != nil || len(raw) < 3 {
		t.Errorf("inbound, live: %v, %v", raw, err)
	}
}

// FuzzFilter gives arbitrary filters arbitrary frames.
func FuzzFilter(f *testing.F) {
	for _, e := range expressions {
		f.Add(e, corpus()["udp"])
	}
	f.Fuzz(func(t *testing.T, expression string, frame []byte) {
		p, err := Parse(expression)
		if err != nil {
			return
		}
		if _, err := p.Assemble(Whole); err != nil && !errors.Is(err, ErrSyntax) {
			t.Fatalf("%q: %v", expression, err)
		}
		if program, err := p.Offline(); err == nil {
			takes(t, machine(t, program), frame)
		}
	})
}
