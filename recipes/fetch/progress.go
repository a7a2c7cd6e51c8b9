package fetch

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// lineEvery is how often a progress line comes when the output is not a terminal.
const lineEvery = 2 * time.Second

// Progress tells a person how downloads go: a bar on a terminal, else a plain line about every two seconds. A nil
// *Progress is silent. Its methods may be called from several goroutines.
type Progress struct {
	out      io.Writer
	terminal bool

	mu     sync.Mutex
	action string
	bar    *progressbar.ProgressBar
	have   map[string]int64 // bytes per file: a download may start again
	done   int64
	total  int64
	files  int
	began  time.Time
	begun  int64 // bytes that were there at the start
	printd time.Time
}

// NewProgress writes to out; a bar only if that is a terminal.
func NewProgress(out io.Writer) *Progress {
	f, ok := out.(*os.File)
	return &Progress{out: out, terminal: ok && term.IsTerminal(int(f.Fd()))}
}

// Logf writes one line of news.
func (p *Progress) Logf(format string, args ...any) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		_ = p.bar.Clear() // a spoilt bar is no reason to fail
	}
	fmt.Fprintf(p.out, format+"\n", args...)
}

func (p *Progress) start(items []Item) {
	var total int64
	for _, item := range items {
		total += item.Size
	}
	p.Start("fetch", len(items), total)
}

// Start begins to tell of an action on files with total bytes together.
func (p *Progress) Start(action string, files int, total int64) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.action, p.have, p.done, p.total, p.files = action, map[string]int64{}, 0, total, files
	p.began, p.printd, p.begun = time.Now(), time.Now(), 0
	if p.terminal {
		p.bar = progressbar.NewOptions64(p.total, progressbar.OptionSetWriter(p.out), progressbar.OptionShowBytes(true),
			progressbar.OptionSetDescription(fmt.Sprintf("%d files", p.files)), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
	}
}

// set states how much of a file is there; grow is relative.
func (p *Progress) set(key string, n int64) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begun += max(0, n-p.have[key])
	p.change(key, n)
}

func (p *Progress) grow(key string, n int64) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.change(key, p.have[key]+n)
}

func (p *Progress) change(key string, n int64) {
	p.done += n - p.have[key]
	p.have[key] = n
	if p.bar != nil {
		_ = p.bar.Set64(min(p.done, p.total))
		return
	}
	if now := time.Now(); now.Sub(p.printd) >= lineEvery {
		p.printd = now
		fmt.Fprintln(p.out, p.line(now))
	}
}

func (p *Progress) line(now time.Time) string {
	rate := float64(max(0, p.done-p.begun)) / max(now.Sub(p.began).Seconds(), 0.001)
	return fmt.Sprintf("%s: %.1f of %.1f MB in %d files, %.1f MB/s", p.action, float64(p.done)/1e6, float64(p.total)/1e6, p.files, rate/1e6)
}

// Grow tells of n more bytes.
func (p *Progress) Grow(n int64) { p.grow("", n) }

// Stop ends what Start began.
func (p *Progress) Stop() { p.stop() }

func (p *Progress) stop() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		_ = p.bar.Finish()
		p.bar = nil
	}
	fmt.Fprintln(p.out, p.line(time.Now()))
}
