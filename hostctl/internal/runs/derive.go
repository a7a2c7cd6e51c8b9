package runs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"picolab/hostctl/report"
	"picolab/hostctl/report/page"
)

// derived are the files of a run's folder that are made of results.jsonl and run.json, and how.
var derived = []struct {
	name string
	make func(*report.Outcome) ([]byte, error)
}{
	{report.JUnitFile, report.JUnit},
	{report.TAPFile, text(report.TAP)},
	{report.BenchFile, text(report.Benchmarks)},
	{page.File, page.Render},
}

func text(write func(w io.Writer, o *report.Outcome) error) func(*report.Outcome) ([]byte, error) {
	return func(o *report.Outcome) ([]byte, error) {
		var b bytes.Buffer
		err := write(&b, o)
		return b.Bytes(), err
	}
}

// Derive writes what is made of a run's results into its folder: junit.xml, results.tap, bench.txt and report.html.
func Derive(dir string, out *report.Outcome) error {
	for _, d := range derived {
		data, err := d.make(out)
		if err != nil {
			return err
		}
		if err := report.WriteFile(filepath.Join(dir, d.name), data); err != nil {
			return err
		}
	}
	return nil
}

// Load returns the run of a folder. What is not there or not whole is an error; a torn last line of results is left out, as
// the run was killed while it wrote it.
func Load(dir string) (*report.Outcome, error) {
	run, err := report.ReadRun(filepath.Join(dir, report.RunFile))
	if err != nil {
		return nil, err
	}
	results, _, err := report.ReadFile(resultsOf(dir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	out := &report.Outcome{Run: run, Results: results}
	for i := range results {
		out.Seconds += results[i].Seconds
	}
	return out, nil
}

// repair cuts a torn last line off a results file, so that lines can be appended.
func repair(path string) error {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("repair results: %w", err)
	}
	whole := bytes.LastIndexByte(data, '\n') + 1
	if whole == len(data) {
		return nil
	}
	return report.WriteFile(path, data[:whole])
}
