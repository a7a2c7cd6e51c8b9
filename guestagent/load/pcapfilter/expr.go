package pcapfilter

import "golang.org/x/net/bpf"

// expr is a boolean expression. emit appends code that ends at one of two labels.
type expr interface {
	emit(p *program, yes, no label)
}

type both struct{ a, b expr }

func (e both) emit(p *program, yes, no label) {
	next := p.label()
	e.a.emit(p, next, no)
	p.place(next)
	e.b.emit(p, yes, no)
}

type either struct{ a, b expr }

func (e either) emit(p *program, yes, no label) {
	next := p.label()
	e.a.emit(p, yes, next)
	p.place(next)
	e.b.emit(p, yes, no)
}

type negated struct{ e expr }

func (e negated) emit(p *program, yes, no label) { e.e.emit(p, no, yes) }

type everything struct{}

func (everything) emit(p *program, yes, _ label) { p.jump(yes) }

func all(first expr, rest ...expr) expr {
	for _, e := range rest {
		first = both{first, e}
	}
	return first
}

func anyOf(first expr, rest ...expr) expr {
	for _, e := range rest {
		first = either{first, e}
	}
	return first
}

// base is what an offset counts from.
type base int

const (
	frame     base = iota // the Ethernet header
	tagged                // the same, but behind the VLAN tags named before: from the EtherType on
	transport             // the end of the IPv4 header, behind the tags
	length                // no offset: the frame's length
)

// field is what a test looks at. vlans counts the vlan primitives before it in the expression.
type field struct {
	from  base
	off   uint32
	size  int // bytes: 1, 2 or 4
	vlans int
}

// test compares a field, after an "and" with mask when that is not 0.
type test struct {
	field
	mask  uint32
	is    bpf.JumpTest
	value uint32
}

func (t test) emit(p *program, yes, no label) {
	p.load(t.field)
	if t.mask != 0 {
		p.add(bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: t.mask})
	}
	p.branch(t.is, t.value, yes, no)
}

// extension compares what the kernel knows of a packet beside its bytes.
type extension struct {
	num   bpf.Extension
	mask  uint32
	value uint32
}

func (e extension) emit(p *program, yes, no label) {
	p.add(bpf.LoadExtension{Num: e.num})
	if e.mask != 0 {
		p.add(bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: e.mask})
	}
	p.branch(bpf.JumpEqual, e.value, yes, no)
}

// vlan is a tag, of any ID when id is negative.
type vlan struct {
	id    int
	vlans int // before this one
}

func (v vlan) emit(p *program, yes, no label) {
	inFrame := v.inFrame()
	if !p.live {
		inFrame.emit(p, yes, no)
		return
	}
	inline, found := p.label(), p.label()
	if v.vlans == 0 { // the outer tag may be beside the frame
		var id expr = everything{}
		if v.id >= 0 {
			id = extension{bpf.ExtVLANTag, 0xfff, uint32(v.id)}
		}
		beside := p.label()
		extension{bpf.ExtVLANTagPresent, 0, 1}.emit(p, beside, inline)
		p.place(beside)
		id.emit(p, yes, no)
	}
	p.place(inline)
	inFrame.emit(p, found, no)
	p.place(found)
	p.skipTag()
	p.jump(yes)
}

func (v vlan) inFrame() expr {
	kind := field{from: tagged, off: 12, size: 2, vlans: v.vlans}
	e := anyOf(equal(kind, 0x8100), equal(kind, 0x88a8), equal(kind, 0x9100))
	if v.id >= 0 {
		e = both{e, test{field{tagged, 14, 2, v.vlans}, 0xfff, bpf.JumpEqual, uint32(v.id)}}
	}
	return e
}

func equal(f field, value uint32) expr { return test{f, 0, bpf.JumpEqual, value} }
