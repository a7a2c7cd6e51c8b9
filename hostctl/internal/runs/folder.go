package runs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"picolab/hostctl/internal/flock"
	"picolab/hostctl/report"
)

// Folder is a run's folder, held against other runs.
type Folder struct {
	dir  string
	lock *flock.Lock
}

// Names in a run's folder beside those of package report.
const (
	lockFile = ".lock"
	casesDir = "cases" // evidence by instance
	labsDir  = "labs"  // evidence by boot
)

// ErrFolder is the error of a folder that a run must not write to.
var ErrFolder = errors.New("not a folder for a run")

// Prepare makes dir an empty run's folder.  An earlier run's files in it are
// removed; a folder with anything else in it is refused, and so is one that a
// run is writing to.
func Prepare(dir string) (*Folder, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("prepare run folder: %w", err)
	}
	f, err := hold(dir)
	if err != nil {
		return nil, err
	}
	for _, name := range ours() {
		if err := os.RemoveAll(filepath.Join(f.dir, name)); err != nil {
			f.Close()
			return nil, fmt.Errorf("prepare run folder: %w", err)
		}
	}
	return f, nil
}

// hold takes a folder that has nothing in it but a run, against other runs.
func hold(dir string) (*Folder, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("prepare run folder: %w", err)
	}
	if err := checkOurs(abs); err != nil {
		return nil, err
	}
	lock, err := flock.Try(filepath.Join(abs, lockFile))
	if err != nil {
		return nil, fmt.Errorf("prepare run folder %s: %w: %w", dir, ErrFolder, err)
	}
	return &Folder{dir: abs, lock: lock}, nil
}

// ours are the names of what a run leaves in its folder.
func ours() []string {
	names := []string{report.RunFile, report.ResultsFile, casesDir, labsDir, hostsDir}
	for _, d := range derived {
		names = append(names, d.name)
	}
	return names
}

// checkOurs refuses a folder that holds what no run made.
func checkOurs(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("prepare run folder: %w", err)
	}
	for _, e := range entries {
		if e.Name() != lockFile && !slices.Contains(ours(), e.Name()) {
			return fmt.Errorf("prepare run folder %s: %w: it holds %s, which is no run's", dir, ErrFolder, e.Name())
		}
	}
	return nil
}

// Close lets other runs have the folder.
func (f *Folder) Close() { f.lock.Release() }

// bad says that a result ends a run with --fail-fast.
func (f *Folder) bad() bool {
	results, _, _ := report.ReadFile(resultsOf(f.dir)) // none is not bad
	return slices.ContainsFunc(results, func(r report.Result) bool { return !r.Result.Good() })
}

func resultsOf(dir string) string { return filepath.Join(dir, report.ResultsFile) }

// load reads what the inside wrote.  That it wrote nothing is not an error of
// reading.
func (f *Folder) load(out *report.Outcome) error {
	if run, err := report.ReadRun(filepath.Join(f.dir, report.RunFile)); err == nil {
		out.Run = run
	}
	results, torn, err := report.ReadFile(filepath.Join(f.dir, report.ResultsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	out.Results = results
	if torn && err == nil && !out.Interrupted {
		err = errors.New("read results: the last line is torn")
	}
	return err
}
