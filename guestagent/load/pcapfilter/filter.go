package pcapfilter

import (
	"errors"
	"fmt"

	"golang.org/x/net/bpf"
)

// ErrSyntax is a filter that cannot be understood.
var ErrSyntax = errors.New("capture filter")

// maxExpression bounds what a parser is given, in bytes.
const maxExpression = 8 << 10

// Whole is more bytes than a frame has.
const Whole = 0x40000

// Filter is a parsed expression.
type Filter struct {
	root  expr
	vlans int
	live  bool // has a primitive that needs the kernel
}

// Parse reads an expression; "" takes everything.
func Parse(text string) (*Filter, error) {
	if len(text) > maxExpression {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrSyntax, maxExpression)
	}
	words, err := split(text)
	if err != nil {
		return nil, fmt.Errorf("%w %q: %w", ErrSyntax, text, err)
	}
	p := &parser{words: words}
	root := expr(everything{})
	if len(words) > 0 {
		root, err = p.expression(qualifiers{})
	}
	if err == nil && len(p.words) > 0 {
		err = fmt.Errorf("%q is not expected", p.words[0])
	}
	if err != nil {
		return nil, fmt.Errorf("%w %q: %w", ErrSyntax, text, err)
	}
	return &Filter{root, p.vlans, p.live}, nil
}

// Offline is the program for frames in a file: what `tcpdump -y EN10MB -ddd` prints, in other words.
func (f *Filter) Offline() ([]bpf.Instruction, error) {
	if f.live {
		return nil, fmt.Errorf("%w: inbound and outbound are only known of live frames", ErrSyntax)
	}
	return f.compile(false, Whole)
}

// Live is the program for a packet socket, SO_ATTACH_FILTER, which cuts the frames that it takes to so many bytes.
func (f *Filter) Live(snaplen uint32) ([]bpf.Instruction, error) { return f.compile(true, snaplen) }

func (f *Filter) compile(live bool, take uint32) ([]bpf.Instruction, error) {
	p := &program{live: live}
	if live && f.vlans > 0 {
		p.add(bpf.LoadConstant{Dst: bpf.RegA, Val: 0})
		p.add(bpf.StoreScratch{Src: bpf.RegA, N: shift})
	}
	yes, no := p.label(), p.label()
	f.root.emit(p, yes, no)
	p.place(yes)
	p.add(bpf.RetConstant{Val: take})
	p.place(no)
	p.add(bpf.RetConstant{Val: 0})
	return p.resolve()
}

// Assemble is Live in the kernel's form.
func (f *Filter) Assemble(snaplen uint32) ([]bpf.RawInstruction, error) {
	program, err := f.Live(snaplen)
	if err != nil {
		return nil, err
	}
	raw, err := bpf.Assemble(program)
	if err != nil {
		return nil, fmt.Errorf("capture filter: assemble: %w", err)
	}
	return raw, nil
}
