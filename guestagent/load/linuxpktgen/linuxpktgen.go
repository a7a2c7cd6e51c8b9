// Package linuxpktgen drives the kernel's packet generator, module pktgen, by its files in /proc/net/pktgen
// (Documentation/networking/pktgen): a kernel thread for each queue of an interface, counts, rates of each queue and in
// all, and a clean removal however the run ends.
package linuxpktgen

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Dir is where the module has its files.
const Dir = "/proc/net/pktgen"

// Config is a run.
type Config struct {
	Dir         string // Dir; tests have their own
	Interface   string
	Queues      int    // each on the kernel thread of its own CPU
	FirstCPU    int    // of the first queue
	Count       uint64 // packets of each queue; 0 is no end
	Size        int    // of a frame, bytes without the CRC
	Clone       int    // how often a packet is sent before a new one is made
	Burst       int
	Delay       time.Duration // between packets of a queue
	Rate        uint64        // packets per second of a queue; 0 is as Delay says
	Destination string        // IP address, v4 or v6
	Source      string
	MAC         string // destination
	SourceMAC   string
	Port        uint16 // UDP, of both ends
	Interval    time.Duration
}

// Queue is what a queue did.
type Queue struct {
	Name    string        `json:"queue"` // eth0@0
	Packets uint64        `json:"packets"`
	Bytes   uint64        `json:"bytes"`
	Errors  uint64        `json:"errors"`
	Elapsed time.Duration `json:"elapsed_ns"`
	PPS     uint64        `json:"pps"`
	BPS     uint64        `json:"bps"`
}

// Generator is a configured run.
type Generator struct {
	c       Config
	threads []string // files of the kernel threads used
	devices []string
}

// New checks that the module, its threads and the interface's queues are there, and configures them. Close must follow.
func New(c Config) (*Generator, error) {
	if c.Dir == "" {
		c.Dir = Dir
	}
	g := &Generator{c: c}
	if _, err := os.Stat(filepath.Join(c.Dir, "pgctrl")); err != nil {
		return nil, fmt.Errorf("%s: the kernel's module pktgen is missing (modprobe pktgen loads it where it was built): %w", c.Dir, err)
	}
	if err := g.configure(); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

func (g *Generator) configure() error {
	for i := range g.c.Queues {
		thread := filepath.Join(g.c.Dir, "kpktgend_"+strconv.Itoa(g.c.FirstCPU+i))
		if _, err := os.Stat(thread); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("there is no kernel thread of pktgen for CPU %d: at most one queue for each CPU", g.c.FirstCPU+i)
		}
		if err := write(thread, "rem_device_all"); err != nil {
			return err
		}
		g.threads = append(g.threads, thread)
		device := g.c.Interface + "@" + strconv.Itoa(i)
		if err := write(thread, "add_device "+device); err != nil {
			return fmt.Errorf("%w (is there an interface %s?)", err, g.c.Interface)
		}
		g.devices = append(g.devices, device)
		for _, line := range g.c.commands(i) {
			if err := write(filepath.Join(g.c.Dir, device), line); err != nil {
				return err
			}
		}
	}
	return nil
}

// commands are the settings of queue i.
func (c *Config) commands(i int) []string {
	lines := []string{
		"count " + strconv.FormatUint(c.Count, 10),
		"clone_skb " + strconv.Itoa(c.Clone),
		"pkt_size " + strconv.Itoa(c.Size),
		"delay " + strconv.FormatInt(c.Delay.Nanoseconds(), 10),
		fmt.Sprintf("queue_map_min %d", i),
		fmt.Sprintf("queue_map_max %d", i),
		fmt.Sprintf("udp_src_min %d", c.Port), fmt.Sprintf("udp_src_max %d", c.Port),
		fmt.Sprintf("udp_dst_min %d", c.Port), fmt.Sprintf("udp_dst_max %d", c.Port),
		"dst_mac " + c.MAC,
	}
	if c.Rate > 0 {
		lines = append(lines, "ratep "+strconv.FormatUint(c.Rate, 10))
	}
	if c.Burst > 1 {
		lines = append(lines, "burst "+strconv.Itoa(c.Burst))
	}
	if c.SourceMAC != "" {
		lines = append(lines, "src_mac "+c.SourceMAC)
	}
	return append(lines, c.addresses()...)
}

func (c *Config) addresses() []string {
	if strings.Contains(c.Destination, ":") {
		lines := []string{"dst6 " + c.Destination}
		if c.Source != "" {
			lines = append(lines, "src6 "+c.Source)
		}
		return lines
	}
	lines := []string{"dst_min " + c.Destination, "dst_max " + c.Destination}
	if c.Source != "" {
		lines = append(lines, "src_min "+c.Source, "src_max "+c.Source)
	}
	return lines
}

// write gives a command to one of the files.
func write(file, command string) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return fmt.Errorf("pktgen: %w", err)
	}
	_, err = f.WriteString(command + "\n")
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("pktgen: %s, command %q: %w", filepath.Base(file), command, err)
	}
	return nil
}

// Run generates until all queues have sent Count packets, or ctx ends, which is no error. report, unless nil, gets the
// packets and errors of each queue so far.
func (g *Generator) Run(ctx context.Context, report func([]Queue)) ([]Queue, error) {
	control := filepath.Join(g.c.Dir, "pgctrl")
	done := make(chan error, 1)
	go func() {
		done <- write(control, "start") // returns when all have sent theirs
		close(done)                     // the end of ctx and of the run may be seen both
	}()
	err := g.watch(ctx, report, done)
	if ctx.Err() != nil {
		err = errors.Join(write(control, "stop"), <-done)
	}
	if err != nil {
		return nil, err
	}
	return g.Results()
}

// watch returns at the end of the run, or of ctx.
func (g *Generator) watch(ctx context.Context, report func([]Queue), done <-chan error) error {
	ticks := time.NewTicker(max(g.c.Interval, time.Millisecond))
	defer ticks.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			return nil
		case <-ticks.C:
			if report == nil {
				continue
			}
			now, err := g.progress()
			if err != nil {
				return err
			}
			report(now)
		}
	}
}

// Close removes the interface from the kernel's threads.
func (g *Generator) Close() error {
	var err error
	for _, t := range g.threads {
		err = errors.Join(err, write(t, "rem_device_all"))
	}
	g.threads = nil
	return err
}
