package pcapfilter

import (
	"fmt"

	"golang.org/x/net/bpf"
)

// maxProgram is the kernel's limit, BPF_MAXINSNS.
const maxProgram = 4096

// label is a place in a program that jumps name before it is known.
type label int

// line is an instruction, or a jump whose targets are labels.
type line struct {
	bpf.Instruction // nil: a jump
	always          bool
	is              bpf.JumpTest
	value           uint32
	yes, no         label
	far             bool // the targets are out of the 8 bits of a conditional jump
}

// size is how many instructions a line becomes.
func (l *line) size() int {
	if l.far {
		return 3
	}
	return 1
}

// program is code under construction.
type program struct {
	live  bool
	lines []line
	at    []int // of each label: the line it is before
}

func (p *program) add(i bpf.Instruction) { p.lines = append(p.lines, line{Instruction: i}) }

func (p *program) label() label {
	p.at = append(p.at, -1)
	return label(len(p.at) - 1)
}

func (p *program) place(l label) { p.at[l] = len(p.lines) }

func (p *program) jump(to label) { p.lines = append(p.lines, line{always: true, yes: to}) }

func (p *program) branch(is bpf.JumpTest, value uint32, yes, no label) {
	p.lines = append(p.lines, line{is: is, value: value, yes: yes, no: no})
}

// shift is the scratch cell in which a live program keeps how many bytes of tags are in the frame.
const shift = 0

func (p *program) skipTag() {
	p.add(bpf.LoadScratch{Dst: bpf.RegA, N: shift})
	p.add(bpf.ALUOpConstant{Op: bpf.ALUOpAdd, Val: 4})
	p.add(bpf.StoreScratch{Src: bpf.RegA, N: shift})
}

// load puts a field into A.
func (p *program) load(f field) {
	moves := p.live && f.vlans > 0
	off := f.off
	if !p.live && f.from != frame {
		off += 4 * uint32(f.vlans)
	}
	switch {
	case f.from == length:
		p.add(bpf.LoadExtension{Num: bpf.ExtLen})
	case f.from == frame || f.from == tagged && !moves:
		p.add(bpf.LoadAbsolute{Off: off, Size: f.size})
	case f.from == tagged:
		p.add(bpf.LoadScratch{Dst: bpf.RegX, N: shift})
		p.add(bpf.LoadIndirect{Off: off, Size: f.size})
	default:
		p.loadHeaderLength(14+off-f.off, moves)
		p.add(bpf.LoadIndirect{Off: 14 + off, Size: f.size})
	}
}

// loadHeaderLength puts the length of the IPv4 header at off into X, and what is between it and off.
func (p *program) loadHeaderLength(off uint32, moves bool) {
	if !moves {
		p.add(bpf.LoadMemShift{Off: off})
		return
	}
	p.add(bpf.LoadScratch{Dst: bpf.RegX, N: shift})
	p.add(bpf.LoadIndirect{Off: off, Size: 1})
	p.add(bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0xf})
	p.add(bpf.ALUOpConstant{Op: bpf.ALUOpShiftLeft, Val: 2})
	p.add(bpf.ALUOpX{Op: bpf.ALUOpAdd})
	p.add(bpf.TAX{})
}

// resolve turns labels into distances.
func (p *program) resolve() ([]bpf.Instruction, error) {
	var starts []int
	for again := true; again; {
		if starts = p.starts(); starts[len(p.lines)] > maxProgram {
			return nil, fmt.Errorf("%w: needs %d instructions, more than %d", ErrSyntax, starts[len(p.lines)], maxProgram)
		}
		again = p.widen(starts)
	}
	var out []bpf.Instruction
	for i := range p.lines {
		out = p.lines[i].append(out, func(l label) uint32 { return uint32(starts[p.at[l]] - starts[i] - 1) })
	}
	return out, nil
}

// starts are the positions of the lines, and of the end.
func (p *program) starts() []int {
	starts := make([]int, len(p.lines)+1)
	for i := range p.lines {
		starts[i+1] = starts[i] + p.lines[i].size()
	}
	return starts
}

// widen marks the conditional jumps that go too far, and says whether there are new ones.
func (p *program) widen(starts []int) (found bool) {
	for i := range p.lines {
		l := &p.lines[i]
		if l.Instruction != nil || l.always || l.far {
			continue
		}
		if far := max(starts[p.at[l.yes]], starts[p.at[l.no]]) - starts[i] - 1; far > 255 {
			l.far, found = true, true
		}
	}
	return found
}

func (l *line) append(out []bpf.Instruction, distance func(label) uint32) []bpf.Instruction {
	switch {
	case l.Instruction != nil:
		return append(out, l.Instruction)
	case l.always:
		return append(out, bpf.Jump{Skip: distance(l.yes)})
	case l.far:
		return append(out, bpf.JumpIf{Cond: l.is, Val: l.value, SkipFalse: 1},
			bpf.Jump{Skip: distance(l.yes) - 1}, bpf.Jump{Skip: distance(l.no) - 2})
	}
	return append(out, bpf.JumpIf{Cond: l.is, Val: l.value, SkipTrue: uint8(distance(l.yes)), SkipFalse: uint8(distance(l.no))})
}
