package recipes

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// ResolutionDigest returns the SHA-256, in hex, of what decides which packages a lock holds: architecture, suites,
// packages, exclude, and the packages of kernel and firmware. Commands, files, modules and limits are not in it: changing them needs no
// new lock. Nor are mirrors: where the bytes come from does not change them.
func (r *Recipe) ResolutionDigest() string {
	type suite struct {
		Name, Path string
		Components []string
		Only       []string `json:",omitempty"`
	}
	in := struct {
		Format            int
		Architecture      string
		Suites            []suite
		Packages, Exclude []string
		Kernel            string
		Firmware          []string `json:",omitempty"`
	}{Format: 1, Architecture: r.Architecture, Packages: nonNil(r.Packages), Exclude: nonNil(r.Exclude), Kernel: r.Kernel.Package,
		Firmware: r.Kernel.Firmware}
	for _, s := range r.Suites {
		in.Suites = append(in.Suites, suite{s.Name, s.Path, nonNil(s.Components), s.Only})
	}
	data, err := json.Marshal(in)
	if err != nil {
		panic(err) // cannot happen: strings and ints only
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// nonNil makes an absent list and an empty one the same.
func nonNil(list []string) []string {
	return append([]string{}, list...)
}
