package lab

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

func pair() Spec {
	return Spec{
		Name: "pair", Accel: AccelTCG,
		Links: []Link{{Name: "lan", Host: netip.MustParsePrefix("10.1.0.1/24"), MTU: 9000}, {Name: "bare"}},
		Guests: []Guest{
			{Name: "a", NICs: []NIC{{Model: "virtio-net-pci", Link: "lan"}, {Model: "e1000", Backend: BackendUser}}},
			{Name: "b", Machine: "pc", CPUs: 2, MemoryMiB: 256, CommandLine: []string{"debug"},
				NICs: []NIC{{Model: "rtl8139", Link: "lan", MAC: "52:54:00:00:00:01"}, {Model: "virtio-net-pci", Link: "bare", Queues: 2, Options: []string{"mrg_rxbuf=off"}}}},
		},
	}
}

// bare is a lab of a guest that boots from the network, and of one that may sleep.
func bare() Spec {
	return Spec{
		Name: "bare", Accel: AccelTCG, Links: []Link{{Name: "lan", Host: netip.MustParsePrefix("10.1.0.1/24")}},
		Guests: []Guest{
			{Name: "a", Boot: BootNet, NICs: []NIC{{Model: "e1000", Link: "lan", BootROM: true}, {Model: "virtio-net-pci", Link: "lan", BootROM: true, Options: []string{"mq=off"}}}},
			{Name: "b", SwapMiB: 1024, NICs: []NIC{{Model: "e1000", Link: "lan"}}},
		},
	}
}

// switched is a lab whose link is a switch.
func switched() Spec {
	s := pair()
	s.Name = "switched"
	s.Guests[0].NICs[0] = NIC{Model: "virtio-net-pci", Link: "lan", Backend: BackendVale, Queues: 2, Options: []string{"packed=on"}}
	s.Guests[1].NICs[0].Backend = BackendVale
	s.Guests[1].NICs[1] = NIC{Model: "virtio-net-pci", Link: "bare", Backend: BackendVhostUser}
	return s
}

func TestSpecRoundTrip(t *testing.T) {
	for _, want := range []Spec{pair(), pair().WithDefaults(), switched(), bare(), bare().WithDefaults(), {Name: "x", Guests: []Guest{}}} {
		data, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var fromJSON Spec
		if err := json.Unmarshal(data, &fromJSON); err != nil || !reflect.DeepEqual(fromJSON, want) {
			t.Errorf("JSON: %v\n%s\ngot  %+v\nwant %+v", err, data, fromJSON, want)
		}
		if data, err = yaml.Marshal(want); err != nil {
			t.Fatal(err)
		}
		var fromYAML Spec
		if err := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict()).Decode(&fromYAML); err != nil {
			t.Fatalf("YAML: %v\n%s", err, data)
		}
		if again, _ := json.Marshal(fromYAML); string(again) != mustJSON(t, want) {
			t.Errorf("YAML:\n%s\ngot  %s\nwant %s", data, again, mustJSON(t, want))
		}
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestWithDefaultsChangesNothingGiven(t *testing.T) {
	before := mustJSON(t, pair())
	s := pair()
	s.WithDefaults()
	if after := mustJSON(t, s); after != before {
		t.Errorf("the spec was changed:\n%s\n%s", before, after)
	}
	once := pair().WithDefaults()
	if twice := once.WithDefaults(); !reflect.DeepEqual(once, twice) {
		t.Errorf("defaults are not a fixed point:\n%+v\n%+v", once, twice)
	}
	if mac := once.Guests[1].NICs[0].MAC; mac != "52:54:00:00:00:01" {
		t.Errorf("given MAC became %s", mac)
	}
}

func TestMACs(t *testing.T) {
	seen := map[string]bool{}
	for _, lab := range []string{"x", "y"} {
		for _, guest := range []string{"a", "b"} {
			for i := range 8 {
				mac := MAC(lab, guest, i)
				if seen[mac] || !strings.HasPrefix(mac, "52:54:00:") || len(mac) != 17 {
					t.Errorf("%s/%s/%d: %s", lab, guest, i, mac)
				}
				seen[mac] = true
			}
		}
	}
	if got := MAC("lab", "a", 0); got != "52:54:00:48:4c:b9" {
		t.Errorf("MAC of lab/a/0 changed to %s: recorded argvs no longer match", got)
	}
	if a, b := cid("x", "a"), cid("y", "a"); a == b || a < 3 || b < 3 {
		t.Errorf("context ids %d and %d", a, b)
	}
}

func TestValidate(t *testing.T) {
	for _, s := range []Spec{pair(), switched(), bare()} {
		if err := s.Validate(); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name   string
		change func(*Spec)
		want   string
	}{
		{"no name", func(s *Spec) { s.Name = "" }, "name: "},
		{"name of a path", func(s *Spec) { s.Name = "../x" }, "name: "},
		{"accel", func(s *Spec) { s.Accel = "xen" }, `accel: "xen" is none of`},
		{"nesting", func(s *Spec) { s.Nesting = -1 }, "nesting: "},
		{"guest twice", func(s *Spec) { s.Guests[1].Name = "a" }, `guests[1].name: "a" is taken by guests[0].name`},
		{"guest called host", func(s *Spec) { s.Guests[0].Name = "host" }, "guests[0].name: "},
		{"machine", func(s *Spec) { s.Guests[0].Machine = "virt" }, "guests[0].machine: "},
		{"cpus", func(s *Spec) { s.Guests[0].CPUs = -1 }, "guests[0].cpus: -1"},
		{"memory", func(s *Spec) { s.Guests[0].MemoryMiB = 4 }, "guests[0].memory_mib: 4"},
		{"cid of the host", func(s *Spec) { s.Guests[0].CID = 2 }, "guests[0].cid: 2 is reserved"},
		{"cid twice", func(s *Spec) { s.Guests[0].CID, s.Guests[1].CID = 7, 7 }, "guests[1].cid: "},
		{"unknown link", func(s *Spec) { s.Guests[0].NICs[0].Link = "wan" }, `guests[0].nics[0].link: no link is called "wan"`},
		{"user on a link", func(s *Spec) { s.Guests[0].NICs[1].Link = "lan" }, "backend user joins no link"},
		{"user with vhost", func(s *Spec) { s.Guests[0].NICs[1].Vhost = true }, "backend user has no vhost"},
		{"backend", func(s *Spec) { s.Guests[0].NICs[1].Backend = "netmap" }, `"netmap" is none of auto, tap, vale, vhost-user, user`},
		{"switch without a link", func(s *Spec) { s.Guests[0].NICs[1].Backend = BackendVale }, `guests[0].nics[1].link: no link is called ""`},
		{"tap on a switch", func(s *Spec) { s.Guests[0].NICs[0].Backend, s.Guests[1].NICs[0].Backend = BackendVale, BackendTap }, `guests[1].nics[0].backend: link "lan" has NICs on taps and NICs on a switch`},
		{"vhost on a switch", func(s *Spec) { s.Guests[1].NICs[1].Backend, s.Guests[1].NICs[1].Vhost = BackendVale, true }, "backend vale has no kernel's vhost"},
		{"vhost-user of no virtio", func(s *Spec) { s.Guests[1].NICs[1] = NIC{Model: "e1000", Link: "bare", Backend: BackendVhostUser} }, "backend vhost-user is for virtio"},
		{"queues of no virtio", func(s *Spec) { s.Guests[1].NICs[1] = NIC{Model: "igb", Link: "bare", Backend: BackendVale, Queues: 2} }, "igb has one queue pair"},
		{"no backend", func(s *Spec) { s.Guests[0].NICs[1].Backend = "" }, "neither a link nor a backend"},
		{"model", func(s *Spec) { s.Guests[0].NICs[0].Model = "e1000,mac=x" }, "guests[0].nics[0].model: "},
		{"option", func(s *Spec) { s.Guests[0].NICs[0].Options = []string{"a=b,c=d"} }, "guests[0].nics[0].options[0]: "},
		{"option without value", func(s *Spec) { s.Guests[0].NICs[0].Options = []string{"mq"} }, "is not one name=value"},
		{"queues", func(s *Spec) { s.Guests[0].NICs[0].Queues = 99 }, "guests[0].nics[0].queues: 99"},
		{"multicast MAC", func(s *Spec) { s.Guests[0].NICs[0].MAC = "01:00:5e:00:00:01" }, "guests[0].nics[0].mac: "},
		{"MAC twice", func(s *Spec) { s.Guests[0].NICs[0].MAC = "52:54:00:00:00:01" }, "guests[1].nics[0].mac: "},
		{"boot", func(s *Spec) { s.Guests[0].Boot = "disk" }, `guests[0].boot: "disk" is neither`},
		{"image of the network", func(s *Spec) { s.Guests[0].Boot, s.Guests[0].Image = BootNet, "guest" }, "guests[0].boot: net takes no image"},
		{"swap", func(s *Spec) { s.Guests[0].SwapMiB = -1 }, "guests[0].swap_mib: -1"},
		{"MTU", func(s *Spec) { s.Links[0].MTU = 65535 }, "links[0].mtu: 65535 is not between 68 and 65521"},
		{"link twice", func(s *Spec) { s.Links[1].Name = "lan" }, "links[1].name: "},
		{"network's address", func(s *Spec) { s.Links[0].Host = netip.MustParsePrefix("10.1.0.0/24") }, "links[0].host: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := pair()
			tt.change(&s)
			err := s.Validate()
			if _, ok := err.(*SpecError); !ok || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want a *SpecError with %q", err, tt.want)
			}
		})
	}
}

func TestValidateListsEverything(t *testing.T) {
	s := pair()
	s.Name, s.Accel, s.Links[0].MTU = "", "xen", 1
	err := s.Validate()
	if e, ok := err.(*SpecError); !ok || len(e.Problems) != 3 {
		t.Errorf("got %v, want three problems", err)
	}
}

func TestAddressPlan(t *testing.T) {
	s := pair().WithDefaults()
	l := &Lab{spec: s, links: networks(s)}
	for _, g := range s.Guests {
		l.vms = append(l.vms, &VM{lab: l, spec: g})
	}
	if got := l.Guest("a").Addr(0).String(); got != "10.1.0.2/24" {
		t.Errorf("a: %s", got)
	}
	if got := l.Guest("b").Addr(0).String(); got != "10.1.0.3/24" {
		t.Errorf("b: %s", got)
	}
	if got := l.Guest("a").Addr(1); got.IsValid() {
		t.Errorf("user NIC has address %s", got)
	}
	if got := l.Guest("b").Addr(1); got.IsValid() {
		t.Errorf("NIC on a link without addresses has %s", got)
	}
	if l.Guest("c") != nil || l.Link("wan") != nil {
		t.Error("unknown names are found")
	}
}

// TestBackends: auto is a tap where there are taps, what the link has, and a tap for the kernel's vhost.
func TestBackends(t *testing.T) {
	s := Spec{Name: "x", Links: []Link{{Name: "free"}, {Name: "switch"}, {Name: "bridge"}, {Name: "vhost"}}, Guests: []Guest{{Name: "a", NICs: []NIC{
		{Model: "e1000", Link: "free"},
		{Model: "e1000", Link: "switch"}, {Model: "e1000", Link: "switch", Backend: BackendVale},
		{Model: "e1000", Link: "bridge"}, {Model: "e1000", Link: "bridge", Backend: BackendTap},
		{Model: "virtio-net-pci", Link: "vhost", Vhost: true}, {Model: "e1000", Link: "vhost"},
		{Model: "e1000", Backend: BackendUser},
	}}}}
	for tap, want := range map[bool]string{true: "tap vale vale tap tap tap tap user", false: "vale vale vale tap tap tap tap user"} {
		settled := s.WithDefaults().withBackends(tap)
		var got []string
		for _, n := range settled.Guests[0].NICs {
			got = append(got, n.Backend)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("taps %v: %q, want %q", tap, got, want)
		}
		if err := settled.Validate(); err != nil {
			t.Error(err)
		}
	}
	if s.WithDefaults().Guests[0].NICs[0].Backend != BackendAuto {
		t.Error("the spec was changed")
	}
}

// TestEmulated: what makes guests slow is emulation anywhere.
func TestEmulated(t *testing.T) {
	for s, want := range map[string]bool{"tcg 0": true, "kvm 0": false, "kvm 1": true, "tcg 1": true} {
		accel, nesting, _ := strings.Cut(s, " ")
		if got := (Spec{Accel: accel, Nesting: int(nesting[0] - '0')}).emulated(); got != want {
			t.Errorf("%s: %v", s, got)
		}
	}
}
