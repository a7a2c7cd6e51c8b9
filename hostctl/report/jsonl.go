package report

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// Names of the files of a run, in its folder.
const (
	ResultsFile = "results.jsonl"
	JUnitFile   = "junit.xml"
	RunFile     = "run.json"
)

// maxLine bounds a line of results.jsonl (a hundred checks are some 30 kB).
const maxLine = 16 << 20

// Writer appends results to a file.  It is not safe for concurrent use.
type Writer struct {
	f *os.File
}

// Create makes an empty results file at path, replacing what was there.
func Create(path string) (*Writer, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("create results: %w", err)
	}
	return &Writer{f: f}, nil
}

// Append continues the results file at path, which is made when it is not there.
func Append(path string) (*Writer, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open results: %w", err)
	}
	return &Writer{f: f}, nil
}

// Add appends r as one line, with one write, and flushes it to the disk.
func (w *Writer) Add(r Result) error {
	if err := r.Validate(); err != nil {
		return err
	}
	line, err := encode(r)
	if err != nil {
		return err
	}
	if _, err := w.f.Write(line); err != nil {
		return fmt.Errorf("append result %s: %w", r.Instance, err)
	}
	if err := w.f.Sync(); err != nil && !errors.Is(err, os.ErrInvalid) {
		return fmt.Errorf("append result %s: %w", r.Instance, err)
	}
	return nil
}

// Close closes the file.
func (w *Writer) Close() error { return w.f.Close() }

// encode returns r as a line.  Lists are never null: readers may range over
// them without asking.
func encode(r Result) ([]byte, error) {
	if r.Checks == nil {
		r.Checks = []Check{}
	}
	if r.Evidence == nil {
		r.Evidence = []string{}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(r); err != nil {
		return nil, fmt.Errorf("encode result %s: %w", r.Instance, err)
	}
	return b.Bytes(), nil
}

// Read returns the results of a results.jsonl.  A last line without its newline
// is a write that a kill cut short: it is left out and torn is true.
func Read(r io.Reader) (results []Result, torn bool, err error) {
	br := bufio.NewReader(io.LimitReader(r, 1<<32))
	for n := 1; ; n++ {
		line, err := br.ReadBytes('\n')
		switch {
		case errors.Is(err, io.EOF):
			return results, len(line) > 0, nil
		case err != nil:
			return results, false, fmt.Errorf("read results: %w", err)
		case len(line) > maxLine:
			return results, false, fmt.Errorf("read results: line %d: longer than %d bytes", n, maxLine)
		}
		var res Result
		if err := json.Unmarshal(line, &res); err != nil {
			return results, false, fmt.Errorf("read results: line %d: %w", n, err)
		}
		if err := res.Validate(); err != nil {
			return results, false, fmt.Errorf("read results: line %d: %w", n, err)
		}
		results = append(results, res)
	}
}

// ReadFile is [Read] of a file.
func ReadFile(path string) (results []Result, torn bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, false, fmt.Errorf("read results: %w", err)
	}
	defer f.Close()
	return Read(f)
}
