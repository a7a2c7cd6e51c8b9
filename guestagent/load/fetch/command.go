package fetch

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"picolab/guestagent/load/getopt"
)

// command is a command line.
type command struct {
	Options
	help bool
}

// Manual is what fetch --help prints.
func Manual() string {
	return `Usage: fetch [option...] http://address:port/path

Downloads a file by several connections and tells its size, SHA-256, how often a
connection was tried again, and how long it took, as JSON.

` + getopt.Manual(new(command).options())
}

func (c *command) options() []getopt.Option {
	return []getopt.Option{
		getopt.Value('k', "count", "connections at a time (1)", func(v string) (err error) {
			c.Connections, err = strconv.Atoi(v)
			return err
		}),
		getopt.Value('o', "file", "to write (/tmp/fetched)", func(v string) error { c.File = v; return nil }),
		getopt.Value('w', "secs", "without data that end a connection (5)", seconds(&c.Idle)),
		getopt.Value('W', "secs", "for all (600)", seconds(&c.Timeout)),
		{Name: 'h', Long: "help", Help: "this", Set: func(string) error { c.help = true; return nil }},
	}
}

func seconds(to *time.Duration) func(string) error {
	return func(v string) error {
		n, err := strconv.ParseFloat(v, 64)
		if err != nil || n <= 0 || n > 1e6 {
			return fmt.Errorf("%q is not a number of seconds", v)
		}
		*to = time.Duration(n * float64(time.Second))
		return nil
	}
}

// Command runs a command line and prints the result.
func Command(ctx context.Context, w io.Writer, args []string) error {
	c := &command{Options: Options{File: "/tmp/fetched"}}
	rest, err := getopt.Parse(args, c.options())
	switch {
	case err != nil:
		return fmt.Errorf("%w; %w", err, getopt.ErrUsage)
	case c.help:
		_, err := io.WriteString(w, Manual())
		return err
	case len(rest) != 1:
		return fmt.Errorf("one address is needed; %w", getopt.ErrUsage)
	}
	c.URL = rest[0]
	res, err := Fetch(ctx, c.Options)
	if err != nil {
		return err
	}
	return json.NewEncoder(w).Encode(res)
}
