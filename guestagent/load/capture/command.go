package capture

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"picolab/guestagent/load/getopt"
	"picolab/guestagent/load/pcapfilter"
	"picolab/guestagent/load/pcapng"

	"golang.org/x/net/bpf"
)

// command is a command line.
type command struct {
	capture     Options
	files       FileOptions
	list, help  bool
	dump        int // -d, so many times
	json, quiet bool
}

// Manual is the manual of the capture command.
func Manual() string {
	return `Capture records the frames of a link.

	capture [option...] [filter]

It writes pcapng, which tcpdump and wireshark read, or prints a line for each
frame. It ends at SIGINT, SIGTERM or a limit, and tells how many frames it took
and how many the kernel dropped.

` + getopt.Manual(new(command).options()) + `
The filter is that of tcpdump, without names of hosts and services: host, net,
port, portrange, proto, ether, vlan, ip, ip6, arp, tcp, udp, icmp and so on,
less, greater, inbound, outbound, tcp[tcpflags] & tcp-syn != 0, with and, or,
not and parentheses. It runs in the kernel.

The exit code is 0, 1 when the capture failed, and 2 when the command line or
the filter is wrong.
`
}

func (c *command) options() []getopt.Option {
	return []getopt.Option{
		getopt.Value('i', "link", "link (the first that is up and is not loopback)", func(v string) error { c.capture.Link = v; return nil }),
		getopt.Value('w', "file", "write pcapng there; - is the standard output", func(v string) error { c.files.Name = v; return nil }),
		getopt.Value('C', "n", "begin another file after n million bytes", whole(&c.files.Size, 1_000_000)),
		getopt.Value('G', "secs", "begin another file so often; its name may have the\nletters of strftime, such as %H%M%S", func(v string) error {
			var n int64
			err := whole(&n, 1)(v)
			c.files.Every = time.Duration(n) * time.Second
			return err
		}),
		getopt.Value('W', "n", "with -C, a ring of n files; with -G, end after n", func(v string) error {
			var n int64
			err := whole(&n, 1)(v)
			c.files.Count = int(n)
			return err
		}),
		getopt.Value('c', "n", "end after n frames", whole(&c.capture.Packets, 1)),
		getopt.Value('s', "bytes", "keep so many of each frame", func(v string) error {
			n, err := strconv.ParseUint(v, 10, 17)
			c.capture.Snaplen = int(n)
			return err
		}),
		getopt.Value('B', "KiB", "frames that may wait in the kernel (32768)", func(v string) error {
			var n int64
			err := whole(&n, 1024)(v)
			c.capture.Buffer = int(min(n, 1<<30))
			return err
		}),
		getopt.Flag('p', "do not make the link promiscuous", func() { c.capture.Promisc = false }),
		getopt.Flag('d', "print the filter's program and end; -dd as numbers in C,\n-ddd as numbers", func() { c.dump++ }),
		getopt.Flag('D', "list the links and end", func() { c.list = true }),
		getopt.Flag('q', "say nothing at the end", func() { c.quiet = true }),
		{Long: "json", Help: "the counts at the end as JSON", Set: func(string) error { c.json = true; return nil }},
		getopt.Flag('n', "", func() {}), // names are never looked up
		getopt.Flag('l', "", func() {}), // and lines never kept back
		getopt.Flag('U', "", func() {}),
		{Name: 'h', Long: "help", Help: "this", Set: func(string) error { c.help = true; return nil }},
	}
}

// whole takes a number of units, at least one.
func whole(to *int64, unit int64) func(string) error {
	return func(v string) error {
		n, err := strconv.ParseInt(v, 10, 32)
		if err != nil || n < 1 {
			return fmt.Errorf("%q is not a number of at least 1", v)
		}
		*to = n * unit
		return nil
	}
}

// Command is the capture command. The end of ctx ends it with what there is.
func Command(ctx context.Context, out, errs io.Writer, args []string) error {
	c := &command{capture: Options{Promisc: true}, files: FileOptions{Stdout: out}}
	rest, err := getopt.Parse(args, c.options())
	if err != nil {
		return fmt.Errorf("%w; %w", err, getopt.ErrUsage)
	}
	if len(rest) > 0 && rest[0] == "--" {
		rest = rest[1:]
	}
	c.capture.Filter = strings.Join(rest, " ")
	if _, err := pcapfilter.Parse(c.capture.Filter); err != nil {
		return fmt.Errorf("%w; %w", err, getopt.ErrUsage)
	}
	switch {
	case c.help:
		return write(out, Manual())
	case c.list:
		return listLinks(out)
	case c.dump > 0:
		return c.printProgram(out)
	case c.files.Name == "" && (c.files.Size > 0 || c.files.Every > 0 || c.files.Count > 0):
		return fmt.Errorf("-C, -G and -W are about the files of -w; %w", getopt.ErrUsage)
	}
	return c.run(ctx, out, errs)
}

func write(w io.Writer, text string) error {
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

func (c *command) run(ctx context.Context, out, errs io.Writer) (err error) {
	if c.capture.Link == "" {
		if c.capture.Link, err = firstLink(); err != nil {
			return err
		}
	}
	c.files.Link, c.files.Snaplen = c.capture.Link, c.capture.Snaplen
	open, err := Open(c.capture)
	if err != nil {
		return err
	}
	defer open.Close()
	began := time.Now()
	var files *Files
	var sink Sink = lines{out}
	if c.files.Name != "" {
		if files, err = Create(c.files); err != nil {
			return err
		}
		sink = files
	}
	if !c.quiet {
		fmt.Fprintf(errs, "capture: listening on %s\n", c.capture.Link)
	}
	st, err := open.Run(ctx, sink)
	if files != nil {
		err = errors.Join(err, files.Close(st.Dropped))
	}
	if c.quiet && !c.json {
		return err
	}
	return errors.Join(err, c.summary(errs, st, files, time.Since(began)))
}

// summary tells the counts, on the standard error like tcpdump.
func (c *command) summary(w io.Writer, st Stats, files *Files, d time.Duration) error {
	if !c.json {
		return write(w, fmt.Sprintf("%d packets captured\n%d packets received by filter\n%d packets dropped by kernel\n",
			st.Packets, st.Packets+st.Dropped, st.Dropped))
	}
	var names []string
	if files != nil {
		names = files.Names()
	}
	return json.NewEncoder(w).Encode(struct {
		Link    string   `json:"link"`
		Filter  string   `json:"filter,omitempty"`
		Packets int64    `json:"packets"`
		Dropped int64    `json:"dropped"`
		Bytes   int64    `json:"bytes"`
		Largest int64    `json:"largest_bytes"`
		Elapsed float64  `json:"elapsed_s"`
		Files   []string `json:"files,omitempty"`
	}{c.capture.Link, c.capture.Filter, st.Packets, st.Dropped, st.Bytes, st.Largest, d.Seconds(), names})
}

// lines prints frames.
type lines struct{ w io.Writer }

func (l lines) Write(p pcapng.Packet) error { return write(l.w, Describe(p)+"\n") }
func (l lines) Flush() error                { return nil }

func firstLink() (string, error) {
	links, err := net.Interfaces()
	if err != nil {
		return "", fmt.Errorf("list links: %w", err)
	}
	for _, l := range links {
		if l.Flags&net.FlagUp != 0 && l.Flags&net.FlagLoopback == 0 {
			return l.Name, nil
		}
	}
	return "", errors.New("no link is up; name one with -i")
}

func listLinks(w io.Writer) error {
	links, err := net.Interfaces()
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	for _, l := range links {
		if err := write(w, fmt.Sprintf("%d.%s [%s]\n", l.Index, l.Name, l.Flags)); err != nil {
			return err
		}
	}
	return nil
}

// printProgram prints the program for frames in a file, as tcpdump -d does for an Ethernet link without tags beside frames.
func (c *command) printProgram(w io.Writer) error {
	f, err := pcapfilter.Parse(c.capture.Filter)
	if err != nil {
		return err
	}
	program, err := f.Offline()
	if err != nil {
		return err
	}
	raw, err := bpf.Assemble(program)
	if err != nil {
		return fmt.Errorf("assemble filter: %w", err)
	}
	var b strings.Builder
	if c.dump > 2 {
		fmt.Fprintln(&b, len(raw))
	}
	for i, r := range raw {
		switch c.dump {
		case 1:
			fmt.Fprintf(&b, "(%03d) %v\n", i, program[i])
		case 2:
			fmt.Fprintf(&b, "{ 0x%x, %d, %d, 0x%08x },\n", r.Op, r.Jt, r.Jf, r.K)
		default:
			fmt.Fprintf(&b, "%d %d %d %d\n", r.Op, r.Jt, r.Jf, r.K)
		}
	}
	return write(w, b.String())
}
