package pktgen

import "math/rand/v2"

// source fills buffers with the frames of a sender.
type source interface {
	// next writes the next frame and returns its length. The buffer is long enough for the longest.
	next(buf []byte) int
}

// generator makes UDP frames.
type generator struct {
	headers   Headers
	smallest  int
	templates []*template // by length above the smallest; made when first needed
	src, dst  walk
	still     bool // every frame is as the first
	rng       *rand.PCG
	numbered  bool
	sequence  uint32
}

// newGenerator is for thread i, which has dice of its own.
func newGenerator(c *Config, i int) *generator {
	smallest := c.Size
	if c.MinSize > 0 {
		smallest = c.MinSize
	}
	g := &generator{
		headers: c.Headers, smallest: smallest, numbered: c.Function == TxSeq,
		templates: make([]*template, max(c.Size-smallest, 1)),
		src:       newWalk(c.Headers.Source, c.RandomSource),
		dst:       newWalk(c.Headers.Destination, c.RandomDestination),
		rng:       rand.NewPCG(rand.Uint64(), uint64(i)),
	}
	g.still = g.src.still() && g.dst.still() && !g.numbered
	return g
}

func (g *generator) next(buf []byte) int {
	t := g.template()
	if !g.still {
		t.place(&g.src, &g.dst)
		if g.numbered {
			t.number(g.sequence)
			g.sequence++
		}
		if g.src.next(g.rng) {
			g.dst.next(g.rng)
		}
	}
	return copy(buf, t.frame)
}

// template is that of the next length: random ones are, as in the original, from the smallest up to one less than the
// longest.
func (g *generator) template() *template {
	i := 0
	if n := len(g.templates); n > 1 {
		i = int(uint64(uint32(g.rng.Uint64())) * uint64(n) >> 32)
	}
	if g.templates[i] == nil {
		g.templates[i] = newTemplate(&g.headers, g.smallest+i)
	}
	return g.templates[i]
}

// rubbish sends what the buffers hold.
type rubbish struct{ size int }

func (r rubbish) next([]byte) int { return r.size }
