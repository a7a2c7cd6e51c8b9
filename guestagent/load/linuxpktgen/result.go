package linuxpktgen

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// What a device's file says at the end (net/core/pktgen.c, show_results), and while it sends (pktgen_if_show):
//
//	     pkts-sofar: 1000  errors: 0
//	Result: OK: 1234(c1200+d34) usec, 1000 (60byte,0frags)
//	  810372pps 388Mb/sec (388978560bps) errors: 0
//
// They are compiled when they are needed: the start of every guest's agent is waited for.
var (
	resultLine = pattern(`Result: OK: (\d+)\([^)]*\) (usec|nsec), (\d+) \((\d+)byte`)
	rateLine   = pattern(`(\d+)pps \d+Mb/sec \((\d+)bps\) errors: (\d+)`)
	soFarLine  = pattern(`pkts-sofar:\s*(\d+)\s+errors:\s*(\d+)`)
	otherLine  = pattern(`(?m)^Result: (.*)$`)
)

func pattern(text string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(text) })
}

// Results reads what the queues did in a run that has ended.
func (g *Generator) Results() ([]Queue, error) {
	return g.each(parseResult)
}

// progress reads what they did so far.
func (g *Generator) progress() ([]Queue, error) {
	return g.each(func(name, text string) (Queue, error) {
		m := soFarLine().FindStringSubmatch(text)
		if m == nil {
			return Queue{}, fmt.Errorf("pktgen: %s: no packets counted in %q", name, text)
		}
		n, err := numbers(m[1:])
		return Queue{Name: name, Packets: n[0], Errors: n[1]}, err
	})
}

func (g *Generator) each(parse func(name, text string) (Queue, error)) ([]Queue, error) {
	var out []Queue
	for _, name := range g.devices {
		text, err := os.ReadFile(filepath.Join(g.c.Dir, name))
		if err != nil {
			return nil, fmt.Errorf("pktgen: %w", err)
		}
		q, err := parse(name, string(text))
		if err != nil {
			return nil, err
		}
		out = append(out, q)
	}
	return out, nil
}

// parseResult reads the result of a queue.
func parseResult(name, text string) (Queue, error) {
	result, rate := resultLine().FindStringSubmatch(text), rateLine().FindStringSubmatch(text)
	if result == nil || rate == nil {
		why := "no result"
		if m := otherLine().FindStringSubmatch(text); m != nil {
			why = m[1]
		}
		return Queue{}, fmt.Errorf("pktgen: %s: %s", name, why)
	}
	n, err := numbers([]string{result[1], result[3], result[4], rate[1], rate[2], rate[3]})
	if err != nil {
		return Queue{}, fmt.Errorf("pktgen: %s: %w", name, err)
	}
	unit := map[string]time.Duration{"usec": time.Microsecond, "nsec": time.Nanosecond}[result[2]]
	return Queue{
		Name: name, Elapsed: time.Duration(n[0]) * unit, Packets: n[1], Bytes: n[1] * n[2],
		PPS: n[3], BPS: n[4], Errors: n[5],
	}, nil
}

func numbers(texts []string) ([]uint64, error) {
	out := make([]uint64, len(texts))
	for i, s := range texts {
		n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 63)
		if err != nil {
			return out, fmt.Errorf("number %q: %w", s, err)
		}
		out[i] = n
	}
	return out, nil
}

// Total sums queues. Their rates add up, as they run at once.
func Total(queues []Queue) Queue {
	t := Queue{Name: "total"}
	for _, q := range queues {
		t.Packets += q.Packets
		t.Bytes += q.Bytes
		t.Errors += q.Errors
		t.PPS += q.PPS
		t.BPS += q.BPS
		t.Elapsed = max(t.Elapsed, q.Elapsed)
	}
	return t
}
