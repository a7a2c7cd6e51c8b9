package catalogue

import (
	"fmt"
	"slices"
)

// Case is one test of a seed document: data that says what it is, and the
// function that does it.  The data dumps to JSON and is pinned by a golden file
// (testdata/catalogue.json of package hostctl/internal/runs), so that no
// criterion changes unseen.
type Case struct {
	ID         string    `json:"id"`    // suite.name
	Title      string    `json:"title"` // one line, no full stop
	Seed       Seed      `json:"seed"`
	Where      []Tier    `json:"where"`
	Topology   Topology  `json:"topology"`
	Matrix     Matrix    `json:"matrix"`
	Needs      []string  `json:"needs"`
	Params     Params    `json:"params"`
	Steps      []string  `json:"steps"` // the seed's, in its order
	Deviations []Deviant `json:"deviations,omitempty"`

	Run func(*T) `json:"-"`
}

// Seed names the place a case comes from.
type Seed struct {
	Doc       string `json:"doc"`       // file name under seeds/
	Item      string `json:"item"`      // the document's own number
	Criterion string `json:"criterion"` // the document's words
	Note      string `json:"note,omitempty"`
}

// Deviant is a criterion of the seed that cannot be met as written today, what
// is asked for in its place, and why.  Both values are printed by the check.
type Deviant struct {
	Check  string `json:"check"`
	Seed   string `json:"seed"`
	Modern string `json:"modern"`
	Reason string `json:"reason"`
}

// Tier is a kind of place a case can run in.
type Tier string

// The tiers, the cheapest first.
const (
	Container Tier = "T1" // guests under QEMU in namespaces of the kernel at hand
	Nested    Tier = "T3" // guests inside the host image, which is itself a VM
	Metal     Tier = "HW" // real hardware
)

// Topology is the lab a case wants.  A string "$axis" stands for the value of
// that axis in the instance; [Topology.Resolve] puts it in.
type Topology struct {
	Guests []Guest `json:"guests"`
	Links  []Link  `json:"links"`
}

// Guest is one guest of a topology.
type Guest struct {
	Name    string `json:"name"`
	Machine string `json:"machine,omitempty"` // q35 or pc; q35 when empty
	CPUs    int    `json:"cpus,omitempty"`    // 1 when 0
	NICs    []NIC  `json:"nics"`
	Spare   int    `json:"spare,omitempty"` // slots for cards plugged in at run time
	Boot    string `json:"boot,omitempty"`  // net: from the first card that has a boot ROM, without an agent; our image when empty
	Swap    int    `json:"swap,omitempty"`  // MiB of a disk to hibernate to; without one the guest cannot be suspended to RAM either
}

// NIC is one network card of a guest.
type NIC struct {
	Model   string   `json:"model"`
	Link    string   `json:"link"`
	Backend string   `json:"backend,omitempty"` // tap, vale for our own switch, or user; tap when empty
	Vhost   string   `json:"vhost,omitempty"`   // on or off; off when empty
	Queues  int      `json:"queues,omitempty"`  // pairs; 1 when 0
	Options []string `json:"options,omitempty"` // of QEMU's -device, option=value
	ROM     string   `json:"rom,omitempty"`     // empty, or shipped for QEMU's own boot ROM of the model; empty when empty
}

// ROMs of a card.
const (
	ROMShipped = "shipped"
	ROMEmpty   = "empty"
)

// Link is one bridge of the lab's namespace, or one switch, with an address of
// the host.
type Link struct {
	Name string `json:"name"`
}

// Matrix is the space of a case's instances.  The full profile runs all of them,
// the quick one a part that has any two values of axes together at least once.
type Matrix struct {
	Axes       []Axis      `json:"axes"` // in the order they vary, the last fastest
	Exclusions []Exclusion `json:"exclusions,omitempty"`
	Sparse     bool        `json:"sparse,omitempty"` // the quick profile has each value, and not any two together
}

// Axis is one dimension of a matrix.
type Axis struct {
	Name   string              `json:"name"`
	Values []string            `json:"values"`
	Quick  []string            `json:"quick,omitempty"` // the values of the quick profile; all when empty
	Late   []string            `json:"late,omitempty"`  // values that most hosts lack what they need for; see cover
	Alike  bool                `json:"alike,omitempty"` // the values are ways to the same; see Plan.StandIn
	Needs  map[string][]string `json:"needs,omitempty"` // what a value needs beyond the case's needs
}

// Exclusion is a combination that is no instance, with the reason.
type Exclusion struct {
	When   []Match `json:"when"` // all of them
	Reason string  `json:"reason"`
}

// Match holds for an instance whose Axis has one of the values In.
type Match struct {
	Axis string   `json:"axis"`
	In   []string `json:"in"`
}

// Params are a case's numbers.  Full has the seed's own and is complete; Quick
// has those that differ in the quick profile.
type Params struct {
	Full  Values `json:"full"`
	Quick Values `json:"quick,omitempty"`
}

// Values are parameters by name.  Lists are words between spaces; durations and
// sizes carry their unit ("100us", "32MiB").
type Values map[string]string

// Profile chooses parameters and axis values.
type Profile string

// The profiles.
const (
	Quick Profile = "quick"
	Full  Profile = "full"
)

// Get returns the parameter name in profile p and whether there is one.
func (ps Params) Get(p Profile, name string) (string, bool) {
	if v, ok := ps.Quick[name]; ok && p == Quick {
		return v, true
	}
	v, ok := ps.Full[name]
	return v, ok
}

// NotOn says why the case cannot run on a kind of host, or "": a machine can do
// what a cheaper one can, and an unknown kind is taken for one that can.
func (c *Case) NotOn(kind string) string {
	most := map[string]Tier{"container": Container, "vm": Nested}[kind]
	if most == "" || slices.ContainsFunc(c.Where, func(t Tier) bool { return t.cost() <= most.cost() }) {
		return ""
	}
	return fmt.Sprintf("runs in %v, which a host of kind %s is not%s", c.Where, kind, c.remedy())
}

// remedy says which host would do where that is not this machine as it is.
func (c *Case) remedy() string {
	switch c.Where[0] {
	case Nested:
		return ": it takes a kernel of the lab's own (--host vm or auto)"
	case Metal:
		return ": it takes a lab PC (--host metal)"
	}
	return ""
}

// cost orders the tiers.
func (t Tier) cost() int { return slices.Index([]Tier{Container, Nested, Metal}, t) }

// Suite is the part of the case's id before the first dot.
func (c *Case) Suite() string {
	suite, _, _ := cutID(c.ID)
	return suite
}
