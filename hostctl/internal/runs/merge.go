package runs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"picolab/hostctl/report"
)

// ErrMerge is the error of runs that are not parts of one.
var ErrMerge = errors.New("not parts of one run")

// Merge joins runs, such as the shards of one, into a new folder: their results in the order of the folders, their evidence,
// and what is made of both. They must be of one catalogue and profile, and no two may have an instance in common.
func Merge(dirs []string, into string) (*report.Outcome, error) {
	var parts []*report.Outcome
	for _, dir := range dirs {
		part, err := Load(dir)
		if err != nil {
			return nil, fmt.Errorf("merge %s: %w", dir, err)
		}
		parts = append(parts, part)
	}
	out, err := join(dirs, parts)
	if err != nil {
		return nil, err
	}
	folder, err := Prepare(into)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	for i, dir := range dirs {
		if err := folder.adopt(dir, shardName(i)); err != nil {
			return nil, err
		}
	}
	return out, folder.record(out)
}

// shardName is the folder of a part's labs: two parts number theirs alike.
func shardName(i int) string { return fmt.Sprintf("part%d", i+1) }

// join makes one outcome of parts.
func join(dirs []string, parts []*report.Outcome) (*report.Outcome, error) {
	out := &report.Outcome{Run: parts[0].Run}
	out.Run.Planned, out.Run.Excluded, out.Run.Parts = nil, nil, nil
	from := map[string]string{}
	for i, p := range parts {
		if p.Run.Catalogue != out.Run.Catalogue || p.Run.Profile != out.Run.Profile {
			return nil, fmt.Errorf("merge %s: %w: catalogue %.12s and profile %s, the first has %.12s and %s", dirs[i], ErrMerge,
				p.Run.Catalogue, p.Run.Profile, out.Run.Catalogue, out.Run.Profile)
		}
		for _, id := range p.Run.Planned {
			if other, ok := from[id]; ok {
				return nil, fmt.Errorf("merge %s: %w: %s is in %s too", dirs[i], ErrMerge, id, other)
			}
			from[id] = dirs[i]
		}
		add(out, p, shardName(i))
	}
	return out, nil
}

// add appends a part to the whole.
func add(out, p *report.Outcome, name string) {
	out.Run.Planned = append(out.Run.Planned, p.Run.Planned...)
	out.Run.Parts = append(out.Run.Parts, p.Run.Parts...)
	for _, ex := range p.Run.Excluded {
		if !slices.Contains(out.Run.Excluded, ex) {
			out.Run.Excluded = append(out.Run.Excluded, ex)
		}
	}
	for _, r := range p.Results {
		for i, f := range r.Evidence {
			r.Evidence[i] = moved(f, name)
		}
		out.Results = append(out.Results, r)
	}
	out.Seconds += p.Seconds
}

// moved is where a part's file is in the whole.
func moved(file, name string) string {
	for _, dir := range []string{labsDir, hostsDir} {
		if rest, ok := strings.CutPrefix(file, dir+"/"); ok {
			return filepath.Join(dir, name, rest)
		}
	}
	return file
}

// adopt copies a part's evidence.
func (f *Folder) adopt(dir, name string) error {
	for _, sub := range []string{casesDir, labsDir, hostsDir} {
		err := filepath.WalkDir(filepath.Join(dir, sub), func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			rel, err := filepath.Rel(dir, path)
			if err != nil {
				return err
			}
			return copyFile(filepath.Join(f.dir, moved(filepath.ToSlash(rel), name)), path)
		})
		if err != nil {
			return fmt.Errorf("merge %s: %w", dir, err)
		}
	}
	return nil
}

// copyFile links where both are on one file system: captures are large.
func copyFile(to, from string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if os.Link(from, to) == nil {
		return nil
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return report.WriteFile(to, data)
}

// record writes a whole run into its folder.
func (f *Folder) record(out *report.Outcome) error {
	if err := report.WriteJSON(filepath.Join(f.dir, report.RunFile), out.Run); err != nil {
		return err
	}
	w, err := report.Create(resultsOf(f.dir))
	if err != nil {
		return err
	}
	for _, r := range out.Results {
		if err := w.Add(r); err != nil {
			return errors.Join(err, w.Close())
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return Derive(f.dir, out)
}
