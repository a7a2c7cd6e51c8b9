package site

import (
	"errors"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const goodKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5m4s0mJ3uW1m5m0kYH9yV6wWv6yq3c3n6q0o1t2u3v me@here"

func TestParseKeys(t *testing.T) {
	for _, tc := range []struct{ text, want string }{ // want is the error, "" for none
		{goodKey, ""},
		{"  " + goodKey + "\r", ""},
		{`from="10.0.0.0/8",command="echo \"a b\"" ` + goodKey, ""},
		{"", ""}, {"# comment", ""},
		{"ssh-ed25519", "1:12: the key is missing after ssh-ed25519"},
		{"  hello", "1:3: no key type"},
		{"\n\nssh-rsa " + strings.Fields(goodKey)[1], "3:9: the key is damaged: it is no ssh-rsa key"},
		{"ssh-ed25519 $$$", "1:13: the key is damaged: not base64"},
		{"-----BEGIN OPENSSH PRIVATE KEY-----", "1:1: this is a private key"},
		{"\xff\xfes\x00s\x00h", "1:1: control character or text that is not UTF-8"},
	} {
		keys, err := ParseKeys([]byte(tc.text))
		if (tc.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), "authorized_keys:"+tc.want) {
			t.Errorf("%q: %v, want %q", tc.text, err, tc.want)
		}
		if err == nil && strings.Contains(tc.text, "AAAA") && len(keys) != 1 {
			t.Errorf("%q: keys %q", tc.text, keys)
		}
	}
}

// TestRealKeys takes what ssh-keygen makes.
func TestRealKeys(t *testing.T) {
	keygen, err := exec.LookPath("ssh-keygen")
	if err != nil {
		t.Skip("ssh-keygen(1) of OpenSSH 7 or later is not installed")
	}
	for _, kind := range []string{"ed25519", "rsa", "ecdsa"} {
		file := filepath.Join(t.TempDir(), "key")
		if out, err := exec.Command(keygen, "-q", "-t", kind, "-N", "", "-f", file).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		data, err := readSmall(file + ".pub")
		if err != nil {
			t.Fatal(err)
		}
		if keys, err := ParseKeys(data); err != nil || len(keys) != 1 {
			t.Errorf("%s: %q, %v", kind, keys, err)
		}
	}
}

const goodNetwork = `hostname: lab7
mirror: http://192.0.2.1/debian
dns: [192.0.2.53, "2001:db8::53"]
search: [lab.example]
dhcp: false
interfaces:
  eth0:
    addresses: [192.0.2.7/24, "2001:db8::7/64"]
    gateways: [192.0.2.1]
    mtu: 9000
    vlans:
      - id: 100
        dhcp: true
  "52:54:00:12:34:56":
    dhcp: true
`

func TestParseNetwork(t *testing.T) {
	n, err := ParseNetwork([]byte(goodNetwork))
	if err != nil {
		t.Fatal(err)
	}
	eth0 := n.of("eth0", "aa:bb:cc:dd:ee:ff")
	if eth0.MTU != 9000 || len(eth0.VLANs) != 1 || eth0.dhcp(n.dhcp()) || !eth0.VLANs[0].plain().dhcp(n.dhcp()) {
		t.Errorf("eth0 %+v", eth0)
	}
	if by := n.of("eth5", "52:54:00:12:34:56"); !by.dhcp(n.dhcp()) {
		t.Errorf("by address: %+v", by)
	}
	if other := n.of("eth6", "52:54:00:12:34:57"); other.dhcp(n.dhcp()) || !other.dhcp(Network{}.dhcp()) {
		t.Errorf("not named: %+v", other)
	}
	for _, text := range []string{"", "# nothing\n", "---\n"} {
		if _, err := ParseNetwork([]byte(text)); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestFaultyNetwork(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"hostname: -x\n", `1:11: "-x" is no host name`},
		{"dns:\n  - 1.2.3.4\n  - 1.2.3\n", `3:5: "1.2.3" is no address`},
		{"search: ['a b']\n", `1:10: "a b" is no domain`},
		{"mirror: here\n", `1:9: "here" is no URL`},
		{"interfaces:\n  eth0:\n    addresses: [10.0.0.1]\n", `3:17: "10.0.0.1" is no address with its prefix length`},
		{"interfaces:\n  eth0:\n    gateways: [x]\n", `3:16: "x" is no address`},
		{"interfaces:\n  eth0:\n    mtu: 60\n", "3:10: an MTU of 60"},
		{"interfaces:\n  eth0:\n    vlans:\n      - id: 4095\n", "VLAN id 4095"},
		{"interfaces:\n  eth0/1: {dhcp: true}\n", `"eth0/1" is neither`},
		{"hostnam: x\n", `1:1: unknown field "hostnam"`},
		{"dns: 1.2.3.4\n", "1:6: "},
		{"hostname: [\n", "network.yaml:"},
		{"a: &x [*x]\n", "network.yaml:"},
		{"\x00", "1:1: control character"},
		{"hostname: ok\n\x01", "2:1: control character"},
		{"interfaces:\n  eth0: {mtu: 1}\n  eth1: {mtu: 2}\n", "an MTU of 2"},
	} {
		n, err := ParseNetwork([]byte(tc.text))
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q: %v, want %q", tc.text, err, tc.want)
		}
		var at *TextError
		if !errors.As(err, &at) || at.Line < 1 || at.Column < 1 || n.Hostname != "" || n.Interfaces != nil {
			t.Errorf("%q: %#v, %+v", tc.text, err, n)
		}
	}
}

func FuzzTexts(f *testing.F) {
	for _, s := range []string{goodNetwork, goodKey, "cases: [a]\nset: [b=c]\n", "a: &x [*x]", "? {", "- -"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		// What is taken must be fit for where it goes.
		if n, err := ParseNetwork(data); err == nil && strings.ContainsAny(n.Hostname+strings.Join(n.Search, "")+strings.Join(n.DNS, ""), "\n /") {
			t.Errorf("%+v", n)
		}
		if keys, _ := ParseKeys(data); strings.Contains(strings.Join(keys, ""), "\n") {
			t.Errorf("%q", keys)
		}
		if a, err := ParseAutorun(data); err == nil {
			for _, w := range a.Cases {
				if w == "" || w[0] == '-' {
					t.Errorf("%+v", a)
				}
			}
		}
	})
}

func TestAutorunCommand(t *testing.T) {
	for text, want := range map[string]string{
		"": "hostctl run -o D",
		"cases: [vnic.link-status-on, 'vhostnet.*']\nset: [nic=e1000, queues=2]\nprofile: full\naccel: tcg\nfail-fast: true\nthen: poweroff\n": "hostctl run vnic.link-status-on vhostnet.* --set nic=e1000 --set queues=2 --profile full --accel tcg --fail-fast -o D",
	} {
		a, err := ParseAutorun([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := a.command("D"); !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("%q: %q", text, got)
		}
	}
	for text, want := range map[string]string{
		"cases: [--help]\n": `autorun:1:9: "--help" is no selector`, "then: explode\n": `1:7: "explode" is none of nothing, poweroff`, "case: x\n": "unknown field",
		"accel: fast\n": "is none of auto, kvm, tcg", "set: ['']\n": "is no selector",
	} {
		if _, err := ParseAutorun([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
